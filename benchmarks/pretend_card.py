"""Would a graphics card capture every step? Asked of a pretended one, on a machine without any.

    python -m benchmarks.pretend_card [--presets default,paper] [--rows 1,2,4,8,16] [--json OUT]

Real sessions of the real engine run with torch's ``meta`` device for a card (`engine.runtime.card`). Every step that a
card would capture in a CUDA graph runs under `CaptureRules`, which lists what a capture forbids: operations that wait
for the device or whose sizes depend on data, copies between devices, noise from generators of the CPU. Counted beside
that: operations of the captured steps, and the copies of one frame of all sessions, up to the card and down. Exits with
1 if anything is forbidden.
"""

import argparse
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.gpu.random_animator import weights_of
from benchmarks.report.command import Report, run_benchmark
from engine.assets import PORTRAIT
from engine.batch.job import FrameJob
from engine.batch.renderer import BUCKETS
from engine.checkpoint import WeightsFolder
from engine.engine import Engine
from engine.postprocess import WatermarkConfig
from engine.runtime import card
from engine.runtime.cuda_graph import rerun
from engine.timebase import SAMPLE_RATE_HZ

PRESETS = ("default", "paper")
_CHUNK = SAMPLE_RATE_HZ // 25

_WAITS_OR_SIZES = (
    "_local_scalar_dense",
    "item",
    "nonzero",
    "nonzero_static",
    "masked_select",
    "unique",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "is_nonzero",
)
"""They bring a number to the host, or make a tensor whose size only the data tell."""
_COPIES = ("copy_", "to", "_to_copy")
_FREE_LINALG = ("linalg_vector_norm", "linalg_cross")
"""Of linear algebra all others check on the host whether they succeeded."""


class CaptureRules(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists what a CUDA graph's capture refuses among the operations that run under it, and counts them all."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.forbidden: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.operations += 1
        why = _refused(func, args, kwargs)
        if why is not None:
            self.forbidden.append(f"{func}: {why}")
        return func(*args, **kwargs)


def _refused(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    name = func._schema.name.removeprefix("aten::")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if name in _WAITS_OR_SIZES or (name == "repeat_interleave" and len(tensors) > 1):
        return "waits for the device"
    if name.lstrip("_").startswith("linalg_") and name not in _FREE_LINALG:
        return "checks on the host whether it succeeded"
    if name.startswith("index") and any(each.dtype in (torch.bool, torch.uint8) for each in tensors[1:]):
        return "has a size that the mask decides"
    # A number that is a tensor of the CPU is passed by value, but for a copy.
    kinds = {each.device.type for each in tensors if each.ndim or name in _COPIES}
    target = kwargs.get("device")
    if name in _COPIES and target is not None:
        kinds.add(torch.device(target).type)
    if len(kinds) > 1:
        return f"copies between {' and '.join(sorted(kinds))}"
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type == "cpu":
        return "draws from a generator of the CPU"
    return None


class Transfers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts copies from the CPU to the pretended card, and their bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.copies = 0
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if name in _COPIES and isinstance(made, Tensor) and made.is_meta:
            source = args[1] if name == "copy_" else args[0]
            if isinstance(source, Tensor) and not source.is_meta:
                self.copies += 1
                self.bytes += source.nbytes
        return made


@dataclass(frozen=True, slots=True)
class Copies:
    """How many copies a frame of all sessions takes in one direction, and their bytes; the mean over a hop."""

    count: float
    bytes: float


class PretendedVoices:
    """Sessions on a pretended card that hear silence, a frame of all of them at a time."""

    def __init__(self, engine: Engine, rows: int, down: list[int]) -> None:
        self.avatar = engine.enroll(PORTRAIT)
        self._hop_frames = engine.networks.hop_frames
        self._renderer = engine.open_renderer(rows)
        self._sessions = [engine.open_session(self.avatar, seed=seed, renderer=self._renderer) for seed in range(rows)]
        self._waiting: list[deque[FrameJob]] = [deque() for _ in self._sessions]
        self._down = down

    @classmethod
    @contextlib.contextmanager
    def open(cls, preset: str, rows: int, capture: card.Capture) -> Iterator[Self]:
        """Sessions of an animator of ``preset``: "default", or a layout with random weights."""
        down: list[int] = []
        with (
            weights_of(None if preset == "default" else preset, "default") as weights,
            card.pretending(capture, down.append),
        ):
            engine = Engine(WeightsFolder.open(weights), torch.device("meta"), WatermarkConfig(), "graph")
            yield cls(engine, rows, down)

    def prepare(self) -> None:
        """As a server does before its first session."""
        self._renderer.prepare()

    def frame(self) -> None:
        """Render one frame of every session; raises what one of them fails with."""
        silence = np.zeros(_CHUNK, np.float32)
        for session, jobs in zip(self._sessions, self._waiting, strict=True):
            while not jobs:
                jobs.extend(session.listen(silence, SAMPLE_RATE_HZ))
        batch = [jobs.popleft() for jobs in self._waiting]
        self._renderer.render(batch)
        for job in batch:
            if job.error is not None:
                raise job.error

    def copies_of_a_frame(self) -> tuple[Copies, Copies]:
        """To the card and back, once all steps are captured."""
        for _ in range(self._hop_frames):
            self.frame()
        self._down.clear()
        with Transfers() as up:
            for _ in range(self._hop_frames):
                self.frame()
        frames = self._hop_frames
        return Copies(up.copies / frames, up.bytes / frames), Copies(len(self._down) / frames, sum(self._down) / frames)


def look(preset: str, rows: int) -> Report:
    """Sessions of ``rows`` voices for two hops of poses: what their captured steps are made of, and what a frame of all
    of them copies.
    """
    rules: list[CaptureRules] = []

    def capture(run: Callable[[], card.Outputs]) -> tuple[card.Outputs, Callable[[], None]]:
        seen = CaptureRules()
        rules.append(seen)
        with seen:
            return rerun(run)

    with PretendedVoices.open(preset, rows, capture) as voices:
        up, down = voices.copies_of_a_frame()
    return {
        "preset": preset,
        "rows": rows,
        "size_px": voices.avatar.size,
        "captured_steps": len(rules),
        "operations": sum(each.operations for each in rules),
        "copies_up": round(up.count, 1),
        "bytes_up": round(up.bytes),
        "copies_down": round(down.count, 1),
        "bytes_down": round(down.bytes),
        "forbidden": sorted({line for each in rules for line in each.forbidden}),
    }


def show(report: Report) -> None:
    """Print the report as a table."""
    table = Table("preset", "rows", "px", "captured steps", "operations", "up", "down", "forbidden")
    for row in report["rows"]:
        copies = (f"{row[f'copies_{way}']:g} of {row[f'bytes_{way}'] / 1e3:.0f} kB" for way in ("up", "down"))
        cells = (row["preset"], row["rows"], row["size_px"], row["captured_steps"], row["operations"])
        table.add_row(*map(str, cells), *copies, "\n".join(row["forbidden"]) or "-")
    Console(width=150).print(table)


def _measure(args: argparse.Namespace) -> Report:
    return {"rows": [look(preset, rows) for preset in args.presets.split(",") for rows in args.rows]}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--rows", type=lambda text: [int(part) for part in text.split(",")], default=list(BUCKETS))


if __name__ == "__main__":
    found = run_benchmark(__doc__, _measure, _options, show=show)
    sys.exit(any(row["forbidden"] for row in found["rows"]))
