"""Results of preparation: each file is written whole or not at all, and a full disk has one named error."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from engine.errors import OutputUnwritable
from engine.files import replacing


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, replacing it in one step.

    Raises:
        OutputUnwritable: the disk is full or forbidden; what was there before is untouched.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with _replacing(path) as partial:
        save_file(contiguous, partial, metadata=dict(metadata or {}))


def save_text(path: Path, text: str) -> None:
    """Write a text file, replacing it in one step. Raises OutputUnwritable as `save_tensors` does."""
    with _replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises OutputUnwritable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"'{path}' cannot be made: {error.strerror or error}") from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    try:
        with replacing(path) as partial:
            yield partial
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputUnwritable(
            f"'{path}' cannot be written: {reason}. What was finished before is intact; make room and run again"
        ) from error
