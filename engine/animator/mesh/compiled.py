"""Loops over pixels, compiled to machine code by numba the first time that they are called, and kept on disk."""

from collections.abc import Callable
from typing import TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile ``function`` on its first call, without the GIL while it runs.

    The machine code is kept beside the module, or in the user's cache where that folder cannot be written. Where
    neither can, it is compiled anew in every process.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        made: _Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder to keep it in
        made = numba.njit(**options)(function)
    return made
