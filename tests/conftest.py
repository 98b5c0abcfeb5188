"""Fixtures that every room shares: optional data folders and the bundled assets."""

import os
from pathlib import Path

# Before numpy and torch are loaded, and for the processes that tests start: every core runs tests of its own, and
# threads that wait for each other on busy cores cost several times what they bring (a session of the paper's size takes
# 16 seconds of one core, or 80 of two).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _own_configuration_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Programs that tests start make their signing key here, not in the home of whoever runs the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))


def _optional_folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, _ROOT.parent / "shared" / default))
    if not folder.is_dir():
        pytest.skip(f"{variable} names no folder: this test needs {default}/, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Licensed portraits and clips; not part of the project."""
    return _optional_folder("GOHD_DATA", "data")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Reference outputs of the released networks; not part of the project."""
    return _optional_folder("GOHD_REFERENCE", "reference")


@pytest.fixture(scope="session")
def portrait_path() -> Path:
    """The bundled demo portrait: a composite face, nobody real."""
    return _ROOT / "engine" / "assets" / "portrait.jpg"


@pytest.fixture(scope="session")
def voice_path() -> Path:
    """The bundled demo voice: synthesised speech."""
    return _ROOT / "engine" / "assets" / "voice.wav"
