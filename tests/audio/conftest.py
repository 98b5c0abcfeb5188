"""The bundled voice, at 16 kHz."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.media import read_audio

Voice = NDArray[np.float32]


@pytest.fixture(scope="session")
def voice(voice_path: Path) -> Voice:
    return np.concatenate([chunk for chunk, _ in read_audio(voice_path)])
