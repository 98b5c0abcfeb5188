"""``gohd doctor``: what this machine has and lacks, and what the networks cost."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator
from typing import get_args

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from clients.doctor import Finding, Machine, sections
from engine.checkpoint import WeightsFolder, list_weights
from engine.errors import WeightsError
from engine.runtime.model_stats import Preset, network_costs


def report_machine(machine: Machine | None = None) -> None:
    """Print what is here, and below what is missing the command that the user may run. None is run."""
    _say("this machine", (*_base(), *_devices(), *_weights()))
    for title, findings in sections(machine or Machine()):
        _say(title, findings)


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


def _base() -> Iterator[Finding]:
    yield Finding("gohd-live", _version("gohd-live") or "run from its folder, not installed")
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield Finding("ffmpeg", f"not needed as a program: PyAV {_version('av')} brings its libraries")


def _devices() -> Iterator[Finding]:
    yield Finding("cpu", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}")
    if not torch.cuda.is_available():
        yield Finding("cuda", "no device that torch can use")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        memory_gib = device.total_memory / 2**30
        yield Finding(f"cuda:{index}", f"{device.name}, {memory_gib:.0f} GiB, sm_{device.major}{device.minor}")


def _weights() -> Iterator[Finding]:
    for folder in list_weights():
        try:
            WeightsFolder.open(folder)
        except WeightsError as error:
            yield Finding("weights", f"{folder.name}: {error}")
        else:
            yield Finding("weights", f"{folder.name}: checksums hold")


def _say(title: str, findings: Iterable[Finding]) -> None:
    """Plain lines that are never wrapped: commands are there to be copied."""
    typer.echo(f"{title}")
    for finding in findings:
        typer.echo(f"  {finding.subject:<16} {finding.text}")
        if finding.command is not None:
            typer.echo(f"  {'':<16} $ {finding.command}")


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
