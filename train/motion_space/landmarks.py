"""Landmarks of a data folder: read from a cache, or found in its pictures and clips and put there."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from train.motion_space.people import Clip, FaceData, Still, describe_clip, describe_still

__all__ = ["read_landmarks"]

_log = logging.getLogger(__name__)
_STILL_FOLDERS = ("portraits", "portraits-small")


def read_landmarks(cache: Path) -> FaceData:
    """Landmarks stored as ``portraits.npz``, ``portraits-small.npz`` {names, landmarks (N, 478, 3) px} and
    ``clip-FILE.npz`` {landmarks (T, 478, 3) px at 25 frames a second}; pictures and frames without a face
    hold NaN."""
    stills: list[Still] = []
    for folder in _STILL_FOLDERS:
        path = cache / f"{folder}.npz"
        if not path.is_file():
            continue
        with np.load(path) as stored:
            for name, landmarks in zip(stored["names"], stored["landmarks"], strict=True):
                if np.isfinite(landmarks).all():
                    stills.append(describe_still(folder, Path(str(name)).stem, landmarks.astype(np.float32)))
    clips: list[Clip] = []
    for path in sorted(cache.glob("clip-*.npz")):
        with np.load(path) as stored:
            landmarks = stored["landmarks"].astype(np.float32)
        landmarks = landmarks[np.isfinite(landmarks).all((1, 2))]
        if len(landmarks):
            clips.append(describe_clip(Path(path.stem.removeprefix("clip-")).stem, landmarks))
    return FaceData(stills, clips)
