"""The bundled landmark model."""

from pathlib import Path

import pytest

from engine.motion.space.landmark_model import LandmarkModel

_WEIGHTS = Path(__file__).resolve().parents[2] / "engine" / "weights" / "default"


@pytest.fixture(scope="session")
def landmark_model() -> LandmarkModel:
    """The motion space that ships with the engine."""
    return LandmarkModel.load(_WEIGHTS / "motion_space.safetensors")
