"""What a frame should take on cards that are not here: predictions from counted operations and bytes, no measurements.

    python -m benchmarks.report.predict [--check]        writes the table of benchmarks/README.md, or checks it

The engine's own steps run on a pretended card (`benchmarks.pretend_card`); of every operation the floating point
operations and the bytes that go in and out are counted. An operation takes the longest of

    its products     at a share of the card's peak in half precision
    its bytes        at a share of the card's bandwidth
    a launch         inside a captured graph

Poses are made three frames at a time: a third of a hop is counted for each frame. Copies go over the bus. What stays on
the processor (the mesh of a guided animator, finishing, Python) is not predicted but named.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.pretend_card import PRESETS, PretendedVoices
from engine.runtime.card import Outputs
from engine.runtime.cuda_graph import rerun

_README = Path(__file__).resolve().parents[1] / "README.md"
_BEGIN, _END = "<!-- predicted: python -m benchmarks.report.predict -->", "<!-- /predicted -->"
_ROWS = (1, 16)
_FRAME_MS, _DEVICE_SHARE, _HOP_FRAMES = 40.0, 0.8, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Figures of a data sheet: dense products in half precision, memory, and the bus."""

    name: str
    tflops: float
    memory_gbs: float
    bus_gbs: float


CARDS = (
    Card(name="RTX 3090", tflops=71.0, memory_gbs=936.0, bus_gbs=25.0),
    Card(name="H200", tflops=989.0, memory_gbs=4800.0, bus_gbs=50.0),
)
# Assumed, not measured: small convolutions reach a third of the peak, streaming kernels seven tenths of the bandwidth
# (both as published for such shapes), and nodes of a captured graph follow one another every 2 microseconds.
_MATRIX_SHARE, _MEMORY_SHARE, _LAUNCH_US = 0.33, 0.7, 2.0


class Counted(TorchDispatchMode):
    """(floating point operations, bytes) of every operation that runs under it, composed ones taken apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        counts = flop_registry.get(func._overloadpacket)
        if counts is None:
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        made = func(*args, **kwargs)
        if not func.is_view:
            tensors = {id(leaf): leaf for leaf in tree_leaves((args, kwargs, made)) if isinstance(leaf, Tensor)}
            flop = 0 if counts is None else int(counts(*args, **kwargs, out_val=made))
            self.operations.append((flop, sum(each.nbytes for each in tensors.values())))
        return made

    def predicted_ms(self, card: Card) -> float:
        """Milliseconds of all operations on a card."""
        products = [flop / (_MATRIX_SHARE * card.tflops * 1e9) for flop, _ in self.operations]
        memory = [size / (_MEMORY_SHARE * card.memory_gbs * 1e6) for _, size in self.operations]
        return sum(max(*pair, _LAUNCH_US / 1e3) for pair in zip(products, memory, strict=True))


def table() -> list[str]:
    """The rows of the README's table."""
    lines = [
        "| preset | sessions in a batch | card | lips and eyes ms | poses ms | picture ms | copies ms | frame ms "
        "| sessions by the device's time |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for preset in PRESETS:
        for rows in _ROWS:
            steps, copied = _counted(preset, rows)
            for card in CARDS:
                express, hop, picture = (step.predicted_ms(card) for step in steps)
                parts = express, hop / _HOP_FRAMES, picture, copied / (card.bus_gbs * 1e6)
                frame_ms = sum(parts)
                fits = int(rows * _DEVICE_SHARE * _FRAME_MS / frame_ms) if rows > 1 else "-"
                cells = (preset, rows, card.name, *(f"{part:.2f}" for part in parts), f"{frame_ms:.2f}", fits)
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _counted(preset: str, rows: int) -> tuple[list[Counted], float]:
    """The three captured steps, in the order in which a frame takes them, and the bytes that a frame copies."""
    steps: list[Counted] = []

    def capture(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        counted = Counted()
        steps.append(counted)
        with counted:
            return rerun(run)

    with PretendedVoices.open(preset, rows, capture) as voices:
        up, down = voices.copies_of_a_frame()
    assert len(steps) == 3, "expressions, poses, picture"
    return steps, up.bytes + down.bytes


def filled(text: str) -> str:
    """``text`` with the table between its marks."""
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    said = (
        f"Predicted, not measured: no card was at hand. Counted operations and bytes of the engine's own steps in half "
        f"precision, at {_MATRIX_SHARE:.0%} of a card's peak, {_MEMORY_SHARE:.0%} of its bandwidth and at least "
        f"{_LAUNCH_US:g} microseconds an operation; pictures of 256 px. The default preset's mesh is drawn before "
        "that, on one thread of the processor: 1.6 ms a session on an AMD EPYC, which fits 20 sessions whatever the "
        "card does."
    )
    return "\n".join([text[:begin], *textwrap.wrap(said, 120), "", *table(), text[end:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    before = _README.read_text(encoding="utf-8")
    after = filled(before)
    if args.check and before != after:
        sys.exit("benchmarks/README.md is not in step: python -m benchmarks.report.predict")
    if before != after:
        _README.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
