"""``gohd weights compile``: engines of the animator for graphics cards, also on a machine that has none."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.table import Table

from engine.animator.network.face_animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.neural import load_network
from engine.checkpoint import WeightsFolder, write_checksums
from engine.errors import CommandInvalid, WeightsIncomplete
from engine.runtime import CompiledFrame, EngineCache, FrameCompiler
from engine.runtime.compilation import bundled_name
from engine.runtime.tensorrt_package import choose_package, present_target

_DRAWN_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRequest:
    """What to build.

    Attributes:
        weights: name of bundled weights, or a folder.
        preset: "paper" or "lite" builds that layout with weights drawn at random, in place of ``weights``.
        targets: "sm86" and the like, "cpu" for OpenVINO and ONNX Runtime; empty is this machine's.
        via: "auto", "tensorrt-rtx", "tensorrt" or "torch-tensorrt".
        precision: of engines, "fp16" or "fp32"; the CPU's network is always fp32.
        rows: sessions in one pass, an engine for each number; a server makes batches of 1, 2, 4, 8 and 16.
        bundle: also put the CPU's network into the weights folder, so that machines need nothing to export it.
        layout: of what engines hand out: "rgb", which sessions take, or "i420" for programs of your own.
    """

    weights: str = "default"
    preset: str | None = None
    targets: tuple[str, ...] = ()
    via: str = "auto"
    precision: str = "fp16"
    rows: tuple[int, ...] = (1,)
    layout: str = "rgb"
    bundle: bool = False


def parse_rows(text: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers, each once.

    Raises:
        CommandInvalid: it is something else.
    """
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise CommandInvalid(f"--rows takes numbers of sessions, as 1 or 1,2,4,8,16, not {text!r}") from error


def compile_weights(request: CompileRequest) -> None:
    """Build, or find, an engine for every target and say what each is.

    Raises:
        WeightsIncomplete: the weights' animator is no network.
        CommandInvalid, MissingDependency, BackendUnavailable: see the message.
    """
    if request.bundle and (request.preset or "cpu" not in request.targets):
        raise CommandInvalid("--bundle keeps the network of --target cpu with the weights that it is of")
    targets = request.targets or (present_target() or "cpu",)
    for target in targets:  # all of them, before the first is built
        if target != "cpu":
            choose_package(request.via, target)
    network, checksum = _drawn(request.preset) if request.preset else _loaded(request.weights)
    engines = [
        FrameCompiler(network, checksum, rows=rows, precision=request.precision, layout=request.layout)
        for rows in request.rows
    ]
    on_cpu = FrameCompiler(network, checksum, precision="fp32")
    for target in targets:
        for compiler in [on_cpu] if target == "cpu" else engines:
            started = time.perf_counter()
            frame = on_cpu.onnx() if target == "cpu" else compiler.tensorrt(target, request.via)[1]
            _report(target, frame, time.perf_counter() - started)
            if request.bundle and target == "cpu":
                _bundle(WeightsFolder.open(request.weights).path, checksum, frame.payload)
    typer.echo(f"kept in {on_cpu.cache.folder}")


def _bundle(folder: Path, checksum: str, network: bytes) -> None:
    for older in folder.glob("animator-*.onnx"):
        older.unlink()
    (folder / bundled_name(checksum)).write_bytes(network)
    write_checksums(folder)
    typer.echo(f"kept in {folder / bundled_name(checksum)}")


def _report(target: str, frame: CompiledFrame, seconds: float) -> None:
    took = "was there" if frame.was_cached else f"built in {seconds:.1f} s"
    key = frame.key
    typer.echo(
        f"{target}  {key.precision}  rows {key.rows or 'any'}  {len(frame.payload) / 2**20:.1f} MiB  {took}  "
        f"{key.package} {key.package_version}"
    )


def list_engines() -> None:
    """Print what the cache holds and how large it is."""
    cache = EngineCache()
    table = Table("target", "precision", "rows", "built by", "weights", "MiB")
    entries = cache.entries()
    for entry in entries:
        size = f"{entry.size_bytes / 2**20:.1f}"
        if (key := entry.key) is None:
            table.add_row("damaged", "", "", "", entry.path.name, size)
            continue
        rows = str(key.rows or "any")
        built_by = f"{key.package} {key.package_version}"
        table.add_row(key.target, key.precision, rows, built_by, key.weights[:12], size)
    if entries:
        console = Console(highlight=False)
        (console if console.is_terminal else Console(highlight=False, width=120)).print(table)
    total_mib = sum(entry.size_bytes for entry in entries) / 2**20
    typer.echo(f"{len(entries)} engines, {total_mib:.1f} MiB in {cache.folder}")


def clear_engines() -> None:
    """Delete what the cache holds."""
    cache = EngineCache()
    typer.echo(f"freed {cache.clear() / 2**20:.1f} MiB in {cache.folder}")


def _loaded(weights: str) -> tuple[FaceAnimatorNetwork, str]:
    folder = WeightsFolder.open(weights)
    if folder.config.get("animator") != "neural":
        raise WeightsIncomplete(
            f"{folder.path} has no neural animator to compile; import one (gohd weights import --animator ...), "
            "or build a layout without weights: --preset paper"
        )
    return load_network(folder)


def _drawn(preset: str) -> tuple[FaceAnimatorNetwork, str]:
    presets = {
        "paper": FaceAnimatorConfig.paper,
        "lite": FaceAnimatorConfig.lite,
        "guided-lite": FaceAnimatorConfig.guided_lite,
    }
    if preset not in presets:
        raise CommandInvalid(f"--preset must be one of {', '.join(presets)}, not {preset!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_DRAWN_SEED)
        network = FaceAnimatorNetwork(presets[preset]())
    return network, hashlib.sha256(f"drawn {_DRAWN_SEED} torch {torch.__version__}".encode()).hexdigest()
