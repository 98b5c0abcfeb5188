"""Animators of drawn weights, and what one frame of them costs at least: times do not depend on the weights."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report.timing import matrix_ceiling_tflops, memory_ceiling_gbs
from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.checkpoint import resolve_weights, save_tensors, write_checksums

SMALL = dataclasses.replace(
    FaceAnimatorConfig.lite(), widths=(24, 16, 12, 8, 8, 8), style_size=32, directions=8, paint_sizes=()
)
"""Of quick runs: 128x128 pixels."""
PRESETS = {"paper": FaceAnimatorConfig.paper(), "lite": FaceAnimatorConfig.lite()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What a machine does at best, measured in the same run.

    Attributes:
        matrix_tflops: 10^12 operations a second of a square product; matrix: its size and type.
        copy_gbs: GB/s that a copy reads and writes.
    """

    matrix_tflops: float
    matrix: str
    copy_gbs: float

    @classmethod
    def measured(cls, device: torch.device, *, quick: bool) -> Ceilings:
        """Half precision on CUDA, float32 on a CPU."""
        on_cuda = device.type == "cuda"
        dtype = torch.float16 if on_cuda else torch.float32
        size, size_mib = (256, 16) if quick else (8192, 1024) if on_cuda else (1024, 64)
        return cls(
            matrix_tflops=round(matrix_ceiling_tflops(device, dtype, size), 4),
            matrix=f"{size} x {size} {str(dtype).removeprefix('torch.')}",
            copy_gbs=round(memory_ceiling_gbs(device, size_mib), 2),
        )

    def floor_ms(self, config: FaceAnimatorConfig, rows: int, bytes_a_value: int) -> float:
        """Milliseconds that ``rows`` frames take at least: all products at the one rate, or all bytes at the other."""
        products_ms = rows * frame_flop(config) / self.matrix_tflops / 1e9
        bytes_ms = frame_bytes(config, rows, bytes_a_value) / self.copy_gbs / 1e6
        return max(products_ms, bytes_ms)


def drawn(config: FaceAnimatorConfig) -> FaceAnimatorNetwork:
    """A network of drawn weights, whose flow is small enough to leave rounding errors what they are."""
    with seeded():
        network = FaceAnimatorNetwork(config)
    for name, parameter in network.named_parameters():
        if "to_flow" in name:
            parameter.data *= 0.1
    return network


def frame_flop(config: FaceAnimatorConfig) -> int:
    """Operations of one frame as a frozen network takes them, two for a multiply-add."""
    network, code, features = _shapes(config)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        network.decoder(code, features)
    return int(counter.get_total_flops())


def frame_bytes(config: FaceAnimatorConfig, rows: int, bytes_a_value: int) -> int:
    """Bytes that a batch must move: the decoder's weights once, each row's feature maps, the images."""
    network, _, features = _shapes(config)
    weights = sum(value.numel() for value in network.decoder.parameters())
    maps = sum(value.numel() for value in features)
    return (weights + rows * maps) * bytes_a_value + rows * 3 * config.image_size**2


def _shapes(config: FaceAnimatorConfig) -> tuple[FaceAnimatorNetwork, torch.Tensor, tuple[torch.Tensor, ...]]:
    """A frozen network without values, and what a frame of it takes beside the motion."""
    with torch.device("meta"), torch.no_grad():
        network = FaceAnimatorNetwork(config).freeze()
        code, features = network.encode(torch.zeros(1, 3, config.image_size, config.image_size))
    return network, code, (*features, *network.blank_guide())


def neural_weights(config: FaceAnimatorConfig, folder: Path) -> Path:
    """The bundled motion networks beside an animator of drawn weights."""
    shutil.copytree(resolve_weights("default"), folder)
    text = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text |= {"animator": "neural", "neural_animator": dataclasses.asdict(config)}
    (folder / "config.json").write_text(json.dumps(text), encoding="utf-8")
    save_tensors(folder / "animator.safetensors", drawn(config).state_dict())
    write_checksums(folder)
    return folder


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Draw the same numbers each time, and leave the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
