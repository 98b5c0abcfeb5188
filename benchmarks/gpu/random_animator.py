"""Animators with random weights, and the least that one frame of them costs: times do not depend on the weights."""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report.timing import Ceilings
from engine.animator import PRESETS, FaceAnimatorConfig, FaceAnimatorNetwork
from engine.checkpoint import resolve_weights, save_tensors, write_checksums

SMALL = FaceAnimatorConfig(
    widths=(24, 16, 12, 8, 8, 8),
    style_size=32,
    directions=8,
    past_frames=6,
    future_frames=0,
    mapping_width=64,
    mapping_dilations=(),
    head_layers=2,
    transform_sizes=(),
)
"""Of quick runs: 128x128 pixels."""


def random_network(config: FaceAnimatorConfig) -> FaceAnimatorNetwork:
    """A network of random weights, whose flow is small enough to leave rounding errors small."""
    with seeded():
        network = FaceAnimatorNetwork(config)
    for name, parameter in network.named_parameters():
        if "to_flow" in name:
            parameter.data *= 0.1
    return network


def floor_ms(ceilings: Ceilings, config: FaceAnimatorConfig, rows: int, bytes_a_value: int) -> float:
    """Milliseconds that ``rows`` frames take at least on a device with these ceilings."""
    return ceilings.floor_ms(rows * frame_flop(config), frame_bytes(config, rows, bytes_a_value))


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
    """A weights folder: the bundled motion networks beside an animator of random weights."""
    shutil.copytree(resolve_weights("default"), folder)
    text = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text |= {"animator": "neural", "neural_animator": dataclasses.asdict(config)}
    (folder / "config.json").write_text(json.dumps(text), encoding="utf-8")
    save_tensors(folder / "animator.safetensors", random_network(config).state_dict())
    write_checksums(folder)
    return folder


@contextlib.contextmanager
def weights_of(preset: str | None, weights: str) -> Iterator[str]:
    """``weights``, or a folder with an animator of ``preset`` and random weights until the block ends."""
    if preset is None:
        yield weights
        return
    with tempfile.TemporaryDirectory(prefix="gohd-bench-") as folder:
        yield str(neural_weights(PRESETS[preset], Path(folder) / preset))


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Draw the same numbers each time, and leave the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
