"""One engine and one avatar for all tests of this folder: they are shared by design and never changed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine import Avatar, Engine, load_engine
from engine.media import read_audio


@pytest.fixture(scope="session")
def engine() -> Engine:
    return load_engine()


@pytest.fixture(scope="session")
def avatar(engine: Engine, portrait_path: Path) -> Avatar:
    return engine.enroll(portrait_path)


@pytest.fixture(scope="session")
def voice(voice_path: Path) -> npt.NDArray[np.float32]:
    """The demo voice, float32 at 16 kHz."""
    return np.concatenate([chunk for chunk, _ in read_audio(voice_path)])
