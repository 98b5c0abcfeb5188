"""Fixtures that every room shares: optional data folders and the bundled assets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Before numpy and torch are loaded, and for the processes that tests start: networks and images are small, and
# threads that wait for each other on a busy machine cost several times what they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _own_configuration_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Programs that tests start make their signing key here, not in the home of whoever runs the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))


@pytest.fixture
def all_cores() -> Iterator[None]:
    """For networks of the paper's size, which are large enough for threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


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
