"""One landmarker for all tests of the room, and the bundled face as pixels."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.portrait import FaceLandmarker


@pytest.fixture(scope="session")
def landmarker() -> FaceLandmarker:
    """With the bundled networks."""
    return FaceLandmarker()


@pytest.fixture(scope="session")
def face(portrait_path: Path) -> NDArray[np.uint8]:
    """The bundled portrait as (512, 512, 3)."""
    return np.asarray(Image.open(portrait_path).convert("RGB").resize((512, 512)), np.uint8)
