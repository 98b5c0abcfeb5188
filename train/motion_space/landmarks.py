"""Landmarks of a data folder: found in its images and clips once, then read from a cache."""

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import FaceTooSmall, NoFaceFound
from engine.motion.space.landmark_table import LANDMARK_COUNT
from engine.portrait import FaceLandmarker, load_image
from train.data.readers.clips import CLIP_SUFFIXES, read_frames
from train.motion_space.people import Clip, FaceData, Still, describe_clip, describe_still

_log = logging.getLogger(__name__)

_STILL_FOLDERS = ("portraits", "portraits-small")
_CLIP_FOLDER = "clips"
_SMALL_SIDE = 320
_MISSING = np.full((LANDMARK_COUNT, 3), np.nan, np.float32)


def find_landmarks(data: Path, cache: Path) -> None:
    """Find the landmarks of ``data``/portraits, portraits-small and clips, and store them in the folder ``cache``.

    What is stored already is kept, so an interrupted run goes on where it was. Files: ``portraits.npz`` and
    ``portraits-small.npz`` {names, landmarks (N, 478, 3) px}, ``clip-FILE.npz`` {landmarks (T, 478, 3) px at 25 frames
    a second}; images and frames without a face hold NaN.
    """
    cache.mkdir(parents=True, exist_ok=True)
    landmarker = FaceLandmarker()
    for folder in _STILL_FOLDERS:
        target, images = cache / f"{folder}.npz", sorted((data / folder).glob("*.jpg"))
        if images and not target.is_file():
            found = np.stack([_find(landmarker, load_image(image)) for image in images])
            np.savez(target, names=[image.name for image in images], landmarks=found)
            _log.info("%s: %d images", folder, len(images))
    for path in sorted((data / _CLIP_FOLDER).glob("*")):
        target = cache / f"clip-{path.name}.npz"
        if path.suffix in CLIP_SUFFIXES and not target.is_file():
            found = np.stack([_find(landmarker, frame) for frame in read_frames(path)])
            np.savez(target, landmarks=found)
            _log.info("%s: %d frames", path.name, len(found))


def read_landmarks(cache: Path) -> FaceData:
    """What ``find_landmarks`` stored, without the images and frames that show no face."""
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


def _find(landmarker: FaceLandmarker, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    scale = 4 if max(rgb.shape[:2]) < _SMALL_SIDE / 2 else 1
    if scale > 1:
        # Thumbnails give steadier landmarks when enlarged.
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    try:
        return landmarker.detect(rgb) / np.float32(scale)
    except (NoFaceFound, FaceTooSmall):
        return _MISSING
