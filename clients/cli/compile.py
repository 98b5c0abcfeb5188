"""``gohd weights compile``: engines of the animator for graphics cards, also on a machine that has none."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli import options
from engine.errors import CommandInvalid, WeightsIncomplete

if TYPE_CHECKING:
    from engine.animator import FaceAnimatorNetwork
    from engine.checkpoint import WeightsFolder
    from engine.runtime import CompiledFrame

_RANDOM_SEED = 0


def compile_weights(
    weights: options.Weights = "default",
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="paper|guided-lite", help="Build this layout with random weights instead, to measure its speed."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Cards as sm86,sm89,sm120, or cpu; by default those of this machine."),
    ] = None,
    via: Annotated[
        str, typer.Option(metavar="PACKAGE", help="auto, tensorrt-rtx, tensorrt or torch-tensorrt.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="fp16|fp32", help="Of engines for cards; the CPU's network is always fp32.")
    ] = "fp16",
    rows: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS", help="Sessions in one pass; 1,2,4,8,16 for a server whose sessions share the card."
        ),
    ] = "1",
    layout: Annotated[
        str, typer.Option(metavar="rgb|i420", help="Pixels of the output: rgb for sessions, i420 for other programs.")
    ] = "rgb",
    bundle: Annotated[bool, typer.Option(help="Also keep what --target cpu builds in the weights folder.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only list what is built, and its size.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Only delete what is built.")] = False,
) -> None:
    """Build the animator for graphics cards ahead of time, also on a machine that has none."""
    from engine.checkpoint import WeightsFolder
    from engine.runtime import EngineCache, FrameCompiler
    from engine.runtime.tensorrt_package import choose_package, present_target

    if clear:
        cache = EngineCache()
        typer.echo(f"freed {cache.clear() / 2**20:.1f} MiB in {cache.folder}")
        return
    if show:
        _list_engines()
        return
    targets = tuple(name.strip().lower() for name in target.split(",")) if target else ()
    if bundle and (preset or "cpu" not in targets):
        raise CommandInvalid("--bundle keeps the network of --target cpu with the weights that it is of")
    targets = targets or (present_target() or "cpu",)
    for name in targets:  # all of them, before the first is built
        if name != "cpu":
            choose_package(via, name)
    network, checksum = _random(preset) if preset else _loaded(weights)
    for_cards = [
        FrameCompiler(network, checksum, rows=count, precision=precision, layout=layout) for count in _parse_rows(rows)
    ]
    for_cpu = FrameCompiler(network, checksum, precision="fp32")
    for name in targets:
        for compiler in [for_cpu] if name == "cpu" else for_cards:
            started = time.perf_counter()
            frame = for_cpu.onnx() if name == "cpu" else compiler.tensorrt(name, via)[1]
            _report(name, frame, time.perf_counter() - started)
            if bundle and name == "cpu":
                _bundle(WeightsFolder.open(weights), checksum, frame.payload)
    typer.echo(f"kept in {for_cpu.cache.folder}")


def _parse_rows(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise CommandInvalid(f"--rows takes numbers of sessions, as 1 or 1,2,4,8,16, not {text!r}") from error


def _report(target: str, frame: CompiledFrame, seconds: float) -> None:
    took = "was there" if frame.was_cached else f"built in {seconds:.1f} s"
    key = frame.key
    typer.echo(
        f"{target}  {key.precision}  rows {key.rows or 'any'}  {len(frame.payload) / 2**20:.1f} MiB  {took}  "
        f"{key.package} {key.package_version}"
    )


def _bundle(folder: WeightsFolder, checksum: str, animator: bytes) -> None:
    """Keep the networks of a CPU with their weights: the animator's step, and the windows of poses and gazes."""
    import torch

    from engine.checkpoint import write_checksums
    from engine.motion.diffusion.openvino_window import bundled_window
    from engine.motion.driver import MotionNetworks
    from engine.runtime import export_onnx, window_graph
    from engine.runtime.compilation import bundled_name

    networks = MotionNetworks.load(folder, torch.device("cpu"))
    for older in folder.path.glob("*-*.onnx"):
        older.unlink()
    path = folder.path / bundled_name(checksum)
    path.write_bytes(animator)
    typer.echo(f"kept in {path}")
    for part, window in (("pose", networks.pose), ("gaze", networks.gaze)):
        if window is not None and window.config.eta == 0:
            path = bundled_window(folder, part)
            export_onnx(window_graph(window), path)
            typer.echo(f"kept in {path}")
    write_checksums(folder.path)


def _list_engines() -> None:
    from rich.console import Console
    from rich.table import Table

    from engine.runtime import EngineCache

    cache = EngineCache()
    entries = cache.entries()
    table = Table("target", "precision", "rows", "built by", "weights", "MiB")
    for entry in entries:
        size = f"{entry.size_bytes / 2**20:.1f}"
        if (key := entry.key) is None:
            table.add_row("damaged", "", "", "", entry.path.name, size)
        else:
            built_by = f"{key.package} {key.package_version}"
            table.add_row(key.target, key.precision, str(key.rows or "any"), built_by, key.weights[:12], size)
    if entries:
        console = Console(highlight=False)
        (console if console.is_terminal else Console(highlight=False, width=120)).print(table)
    total_mib = sum(entry.size_bytes for entry in entries) / 2**20
    typer.echo(f"{len(entries)} engines, {total_mib:.1f} MiB in {cache.folder}")


def _loaded(weights: str) -> tuple[FaceAnimatorNetwork, str]:
    from engine.animator.network.neural import load_network
    from engine.checkpoint import WeightsFolder

    folder = WeightsFolder.open(weights)
    if folder.config.get("animator") != "neural":
        raise WeightsIncomplete(
            f"{folder.path} has no neural animator to compile; import one (gohd weights import --animator ...), "
            "or build a layout without weights: --preset paper"
        )
    return load_network(folder)


def _random(preset: str) -> tuple[FaceAnimatorNetwork, str]:
    import torch

    from engine.animator import PRESETS, FaceAnimatorNetwork

    # Earlier versions also had an unguided layout, "lite", of about the same cost.
    name = "guided_lite" if preset == "lite" else preset.replace("-", "_")
    if name not in PRESETS:
        raise CommandInvalid(f"--preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        network = FaceAnimatorNetwork(PRESETS[name])
    return network, hashlib.sha256(f"drawn {_RANDOM_SEED} torch {torch.__version__}".encode()).hexdigest()
