"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from engine.errors import OutputUnwritable


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, replacing it in one step.

    Raises:
        OutputUnwritable: the disk is full or forbidden; what was there before is untouched.
    """
    partial = _partial(path)
    try:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in tensors.items()},
            partial,
            metadata=dict(metadata or {}),
        )
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, partial, error) from error


def save_text(path: Path, text: str) -> None:
    """Write a text file, replacing it in one step. Raises OutputUnwritable as `save_tensors` does."""
    partial = _partial(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise _unwritable(path, partial, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises OutputUnwritable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"'{path}' cannot be made: {error.strerror or error}") from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _unwritable(path: Path, partial: Path, error: Exception) -> OutputUnwritable:
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
    reason = getattr(error, "strerror", None) or str(error)
    return OutputUnwritable(
        f"'{path}' cannot be written: {reason}. What was finished before is intact; make room and run again"
    )
