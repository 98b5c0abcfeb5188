"""The two TensorRT packages, whose Python API is nearly the same, and what each can build.

tensorrt_rtx   RTX cards (Turing, Ampere without A100's successors, Ada, Blackwell). Builds on a machine without
               a GPU, for any list of targets; kernels are compiled when the engine first runs.
tensorrt       every card, data centres included. Builds for the card that is present, by timing kernels on it.
torch_tensorrt torch's own converter in front of ``tensorrt``; the engine that comes out is one of ``tensorrt``.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Literal, get_args

import torch

from engine.errors import BackendUnavailable, CommandInvalid, MissingDependency

Via = Literal["auto", "tensorrt-rtx", "tensorrt", "torch-tensorrt"]

_MODULES = {"tensorrt-rtx": "tensorrt_rtx", "tensorrt": "tensorrt", "torch-tensorrt": "torch_tensorrt"}
_INSTALL = {
    "tensorrt-rtx": "pip install 'gohd-live[tensorrt]'",
    "tensorrt": "pip install tensorrt",
    "torch-tensorrt": "pip install 'gohd-live[torch-tensorrt]'",
}


@dataclass(frozen=True, slots=True)
class Package:
    """One way to an engine.

    Attributes:
        via: "tensorrt-rtx", "tensorrt" or "torch-tensorrt".
        version: of the package whose engines these are; an engine runs with no other.
    """

    via: str
    version: str

    @property
    def builds_without_gpu(self) -> bool:
        return self.via == "tensorrt-rtx"

    def load(self) -> ModuleType:
        """The module with ``Builder`` and ``Runtime``."""
        return _imported("tensorrt-rtx" if self.via == "tensorrt-rtx" else "tensorrt")


def choose_package(via: str, target: str) -> Package:
    """The package for engines of ``target`` ("sm86").

    Raises:
        CommandInvalid: ``via`` or ``target`` is no such thing.
        MissingDependency: it is not installed.
        BackendUnavailable: it cannot build for the target here.
    """
    if via not in get_args(Via):
        raise CommandInvalid(f"--via must be one of {', '.join(get_args(Via))}, not {via!r}")
    if not (target.startswith("sm") and target[2:].isdigit()):
        raise CommandInvalid(f"a target is sm and the compute capability, as sm86, not {target!r}")
    if via == "auto":
        via = _first_choice(target)
    if importlib.util.find_spec(_MODULES[via]) is None:
        raise MissingDependency(f"engines via {via} need it: {_INSTALL[via]}")
    if via == "tensorrt-rtx":
        package = Package(via, str(_imported(via).__version__))
        if target not in (there := rtx_targets()):
            raise BackendUnavailable(
                f"tensorrt-rtx {package.version} makes no engines for {target}, but for {', '.join(there)}; "
                f"use --via tensorrt on the card itself ({_INSTALL['tensorrt']})"
            )
        return package
    if importlib.util.find_spec("tensorrt") is None:
        raise MissingDependency(f"engines via {via} need tensorrt: {_INSTALL[via]}")
    if target != present_target():
        raise BackendUnavailable(
            f"{via} builds for the card that is present ({present_target() or 'none here'}), not for {target}; "
            f"--via tensorrt-rtx builds without one ({_INSTALL['tensorrt-rtx']})"
        )
    return Package(via, _engine_version(via))


def present_target() -> str | None:
    """Target of the CUDA device that torch uses, None without one."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}"


def rtx_targets() -> tuple[str, ...]:
    """Targets that the installed tensorrt-rtx knows; empty when it is missing."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        return ()
    names = _imported("tensorrt-rtx").ComputeCapability.__members__
    return tuple(sorted((name.lower() for name in names if name.startswith("SM")), key=lambda name: int(name[2:])))


def _first_choice(target: str) -> str:
    if target in rtx_targets():
        return "tensorrt-rtx"
    for via in ("tensorrt", "torch-tensorrt"):
        if importlib.util.find_spec(_MODULES[via]) is not None:
            return via
    raise MissingDependency(
        f"no package here makes engines for {target}: {_INSTALL['tensorrt-rtx']} for RTX cards, "
        f"{_INSTALL['tensorrt']} for all"
    )


def _imported(via: str) -> ModuleType:
    """The module of a package that is installed; raises BackendUnavailable where it cannot be loaded."""
    try:
        return importlib.import_module(_MODULES[via])
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"{_MODULES[via]} is installed and cannot be loaded ({error}): install it again ({_INSTALL[via]}), "
            "for the CUDA version that torch has"
        ) from error


def _engine_version(via: str) -> str:
    tensorrt_version = str(_imported("tensorrt").__version__)
    if via == "tensorrt":
        return tensorrt_version
    try:
        return f"{tensorrt_version} by torch-tensorrt {version('torch-tensorrt')}"
    except PackageNotFoundError:
        return tensorrt_version
