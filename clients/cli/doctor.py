"""``gohd doctor``: what this machine has and lacks, and what the networks cost."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from typing import get_args

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from engine.checkpoint import WeightsFolder, list_weights
from engine.errors import WeightsError
from engine.models import Preset, network_costs

__all__ = ["report_machine", "report_models"]

_OPTIONAL = (
    ("onnxruntime", "onnx", "checking of ONNX files"),
    ("onnx", "onnx", "export of ONNX files"),
    ("onnxscript", "onnx", "export of ONNX files"),
    ("triton", "gpu", "kernels on a CUDA device"),
    ("pillow_heif", "heic", "portraits in HEIC"),
    ("scipy", "train", "training and evaluation"),
    ("tensorboard", "train", "training curves"),
)
"""Import name, extra, what for."""


def report_machine() -> None:
    """Print Python, torch, devices, weights and optional packages with the line that installs what is missing."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for label, text in (*_base(), *_devices(), *_weights(), *_packages()):
        table.add_row(label, text)
    _print(table)


def report_models() -> None:
    """Print parameters and operations of every network of both presets."""
    for preset in get_args(Preset):
        table = Table(title=f"{preset} preset", title_justify="left", box=box.SIMPLE, pad_edge=False)
        table.add_column("network")
        table.add_column("parameters", justify="right")
        table.add_column("GFLOP", justify="right")
        table.add_column("a run is one")
        costs = network_costs(preset)
        for cost in costs:
            table.add_row(cost.name, _millions(cost.parameters), f"{cost.flop / 1e9:.4f}", cost.run)
        table.add_row("sum", _millions(sum(cost.parameters for cost in costs)), "", "")
        _print(table)


def _base() -> Iterator[tuple[str, str]]:
    yield "gohd-live", _version("gohd-live") or "run from its folder, not installed"
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "torch", f"{torch.__version__}, {torch.get_num_threads()} threads"
    yield "ffmpeg", f"not needed as a program: PyAV {_version('av')} brings its libraries"


def _devices() -> Iterator[tuple[str, str]]:
    yield "cpu", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    if not torch.cuda.is_available():
        yield "cuda", "no device that torch can use"
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory_gib = device.total_memory / 2**30
        yield f"cuda:{index}", f"{device.name}, {memory_gib:.0f} GiB, sm_{device.major}{device.minor}"


def _weights() -> Iterator[tuple[str, str]]:
    for folder in list_weights():
        try:
            WeightsFolder.open(folder)
        except WeightsError as error:
            yield "weights", f"{folder.name}: {error}"
        else:
            yield "weights", f"{folder.name}: checksums hold"


def _packages() -> Iterator[tuple[str, str]]:
    for module, extra, purpose in _OPTIONAL:
        if importlib.util.find_spec(module) is None:
            yield module, f"missing ({purpose}): pip install 'gohd-live[{extra}]'"
        else:
            yield module, f"{_version(module.replace('_', '-')) or 'here'} ({purpose})"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _print(table: Table) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=120)
    console.print(table)
