"""Expressions of still portraits: what an avatar's e_0 looks like, smiles included."""

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from safetensors.numpy import load_file

from engine.errors import InputError, PortraitError
from engine.motion.space.landmark_model import LandmarkModel
from train.data.storage.files import make_folder, save_tensors

_log = logging.getLogger(__name__)
PORTRAIT_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_HELD_OUT = re.compile(r"composite-.*|london-0(0\d|10)(-.*)?|canada-0(03|08|10)f(-.*)?")


def portrait_held_out(stem: str) -> bool:
    """Whether a portrait belongs to a person that no training sees."""
    return _HELD_OUT.fullmatch(stem) is not None


def prepare_portraits(folder: Path, out: Path, model: LandmarkModel) -> int:
    """Fit every portrait of the training side; writes ``out/styles.safetensors``. Returns how many.

    Landmarks are kept in ``out/tracks/portraits.safetensors`` between runs.

    Raises:
        InputError: no folder, or no face of the training side in it. OutputUnwritable: the disk is full or forbidden.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is no folder of portraits")
    cache = out / "tracks" / "portraits.safetensors"
    landmarks = load_file(cache) if cache.is_file() else {}
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PORTRAIT_SUFFIXES)
    missing = [path for path in paths if path.stem not in landmarks]
    if missing:
        from engine.portrait import FaceLandmarker, load_image

        landmarker = FaceLandmarker()
        for path in track(missing, description="portraits"):
            try:
                landmarks[path.stem] = landmarker.detect(load_image(path)).astype(np.float32)
            except PortraitError as error:
                _log.warning("portrait %s left out: %s", path.stem, error)
        make_folder(cache.parent)
        save_tensors(cache, landmarks)
    names = [path.stem for path in paths if path.stem in landmarks and not portrait_held_out(path.stem)]
    if not names:
        raise InputError(f"no face of the training side in the portraits of '{folder}'")
    expressions = [model.fit(landmarks[name]).expression for name in names]
    save_tensors(out / "styles.safetensors", {"expression": np.stack(expressions).astype(np.float32)})
    return len(expressions)


def load_styles(out: Path) -> NDArray[np.float32]:
    """(S,64) expressions of training portraits; one neutral row if none were prepared."""
    path = out / "styles.safetensors"
    if not path.is_file():
        return np.zeros((1, 64), np.float32)
    styles: NDArray[np.float32] = load_file(path)["expression"]
    return styles
