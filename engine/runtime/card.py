"""Whether a device is a graphics card. Everything asks here, so that a machine without one can take another for it.

`pretending` takes torch's ``meta`` device for a card: its tensors have shapes and types and no data, every operation
says whether its operands belong together, and anything that needs a number of one raises, as a capture does. What the
host would get of such a card is zeros.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]


class Capture(Protocol):
    """Turns a step without arguments into its outputs and what computes them anew, in the same place."""

    def __call__(self, run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]: ...


DRIVER = Path("/proc/driver/nvidia/version")
"""There where Linux has loaded the driver of a graphics card."""

_pretended: list[tuple[Capture, Callable[[int], None]]] = []


@contextmanager
def pretending(capture: Capture, handed_over: Callable[[int], None] = lambda size_bytes: None) -> Iterator[None]:
    """Take the ``meta`` device for a card.

    Args:
        capture: captures its steps. handed_over: is told the bytes of each copy to the host.
    """
    _pretended.append((capture, handed_over))
    try:
        yield
    finally:
        _pretended.pop()


def is_card(device: torch.device | str) -> bool:
    """Whether ``device`` is a graphics card, or is taken for one."""
    kind = torch.device(device).type
    return kind == "cuda" or (kind == "meta" and bool(_pretended))


def unusable_card() -> str | None:
    """What to do about a card of this machine that torch cannot use; None where it can, or where there is none."""
    if torch.cuda.is_available() or not DRIVER.exists():
        return None
    if torch.version.cuda is None:
        return "this machine has a graphics card, and its torch is a build for CPUs: install one for CUDA"
    return (
        f"this machine has a graphics card, whose driver cannot run torch's CUDA {torch.version.cuda}: update the "
        "driver, or install a torch for CUDA 12 with gohd-live[gpu-cuda12]"
    )


def pretended_capture() -> Capture | None:
    """What captures steps of a card that is none; None for real ones."""
    return _pretended[-1][0] if _pretended else None


def to_host(tensor: Tensor, into: Tensor | None = None) -> Tensor:
    """``tensor`` on the CPU when this returns, in ``into`` if that is given."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype) if into is None else into
    if tensor.is_meta:
        _pretended[-1][1](tensor.nbytes)
        return host.zero_()
    host.copy_(tensor, non_blocking=True)
    if tensor.is_cuda:
        torch.cuda.current_stream(tensor.device).synchronize()
    return host


def host_buffer(like: Tensor) -> Tensor:
    """Memory of the host, of the shape and type of ``like``; pinned for a card, whose copies then do not block."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)
