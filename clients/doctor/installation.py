"""What is installed: this package, Python, torch, the devices torch sees, and the bundled weights."""

import importlib.metadata
import os
import platform
from collections.abc import Iterator

import torch

from clients.doctor.machine import Finding
from engine.checkpoint import WeightsFolder, list_weights
from engine.errors import WeightsError


def installation_findings() -> Iterator[Finding]:
    """Versions, processors, and whether the weights' checksums hold."""
    yield Finding("gohd-live", _version("gohd-live") or "run from its folder, not installed")
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding("ffmpeg", f"not needed as a program: PyAV {_version('av')} has its libraries")
    yield Finding("cpu", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}")
    if not torch.cuda.is_available():
        yield Finding("cuda", "no device that torch can use")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory_gib = device.total_memory / 2**30
        yield Finding(f"cuda:{index}", f"{device.name}, {memory_gib:.0f} GiB, sm_{device.major}{device.minor}")
    for folder in list_weights():
        try:
            WeightsFolder.open(folder)
        except WeightsError as error:
            yield Finding("weights", f"{folder.name}: {error}")
        else:
            yield Finding("weights", f"{folder.name}: checksums hold")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
