"""Which implementation ``impl="auto"`` takes: one table, and one switch over it.

Only what was measured to be faster than the compiled reference on a card may stand in the table. What no card has
run yet is not in it, and so is the reference: `benchmarks.ops` says what to enter.

``GOHD_KERNELS=reference`` takes the reference everywhere; ``GOHD_KERNELS=triton`` (or ``cupy``, ``opencv``) takes that
one wherever it can run, which is how whole networks are compared.
"""

import functools
import importlib.util
import logging
import os

import torch

from kernels.errors import ImplementationUnavailable

MEASURED: dict[tuple[str, str], str] = {
    ("backward_warp", "cpu"): "opencv",
}
"""(operation, device type) to the implementation that was measured to be the fastest there."""

_SWITCH = "GOHD_KERNELS"
_PACKAGES = {
    "opencv": ("cv2", "opencv-contrib-python"),
    "triton": ("triton", "triton"),
    "cupy": ("cupy", "cupy-cuda13x"),
}
_log = logging.getLogger(__name__)


def choose(operation: str, tensor: torch.Tensor, implementations: tuple[str, ...]) -> str:
    """The implementation for ``tensor``'s device: the switch, then the table, then the reference.

    While a network is traced, exported or compiled it is the reference, which those tools know and fuse by themselves.
    ``implementations`` are those that the caller has and that take the inputs; others are passed over.
    """
    if torch.compiler.is_compiling():
        return "reference"
    device = tensor.device.type
    wanted = os.environ.get(_SWITCH) or MEASURED.get((operation, device), "reference")
    if wanted == "reference" or wanted not in implementations:
        return "reference"
    if not installed(_PACKAGES[wanted][0]) or not _runs_on(wanted, tensor.device):
        _say_once(operation, wanted, device)
        return "reference"
    return wanted


def require(operation: str, implementation: str, device: torch.device) -> None:
    """Make sure that ``implementation`` can run on ``device`` here.

    Raises:
        ImplementationUnavailable: its package is missing, or it runs on other devices.
    """
    module, package = _PACKAGES[implementation]
    what = f"{operation} impl={implementation!r}"
    if not installed(module):
        raise ImplementationUnavailable(f"{what} needs a package: pip install {package}")
    if not _runs_on(implementation, device):
        kind = "a CPU" if implementation == "opencv" else "a CUDA device"
        raise ImplementationUnavailable(f"{what} needs {kind}, not {device}")


def refuse_gradients(operation: str, implementation: str, wanted: bool) -> None:
    """Raise ImplementationUnavailable where gradients are ``wanted`` of an implementation without them."""
    if wanted:
        raise ImplementationUnavailable(
            f"{operation} impl={implementation!r} has no gradients; use impl='reference', or torch.no_grad()"
        )


@functools.cache
def installed(module: str) -> bool:
    """Whether a package is there; it is not imported."""
    return importlib.util.find_spec(module) is not None


def triton_runs_on(device: torch.device) -> bool:
    """On CUDA; elsewhere by its interpreter, for tests."""
    return device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"


def _runs_on(implementation: str, device: torch.device) -> bool:
    if implementation == "triton":
        return triton_runs_on(device)
    return device.type == ("cpu" if implementation == "opencv" else "cuda")


@functools.cache
def _say_once(operation: str, wanted: str, device: str) -> None:
    _log.info("%s: %s is not on this machine for %s, using the reference", operation, wanted, device)
