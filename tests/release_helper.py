"""Checkpoint files as the release lays them out, filled from tensor names: for tests of import and session."""

import contextlib
import io
import math
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from engine.animator import FaceAnimatorConfig
from engine.motion.diffusion.denoiser import DenoiserConfig
from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipConfig
from engine.motion.space.resnet import ResNetConfig
from engine.release import RELEASE_FILES, ReleaseConfig, _worker
from engine.release.convert import part_shapes
from engine.release.files import PartName
from engine.release.names import Shapes

KEYS = {file.part: file.key for file in RELEASE_FILES}


def small_release(widths: tuple[int, ...] = (16, 16, 12, 8)) -> ReleaseConfig:
    """The released architecture with a few thousand weights; images of ``2 << len(widths)`` pixels."""
    denoiser = {
        "width": 16,
        "blocks": 4,
        "heads": 2,
        "feed_forward_factor": 2,
        "kernels": 5,
        "step_width": 16,
        "step_frequencies": 8,
    }
    lip = {"audio_widths": (4, 6, 8, 8), "audio_residuals": 1, "audio_size": 16}
    size = 2 << len(widths)
    return ReleaseConfig(
        # SFT at the largest sizes, as the release has it.
        animator=FaceAnimatorConfig(
            widths=widths, style_size=24, directions=4, mapping_width=16, transform_sizes=(size // 2, size)
        ),
        pose=DenoiserConfig(channels=6, **denoiser),
        gaze=DenoiserConfig(channels=2, **denoiser),
        expression=LipConfig(**lip),
        two_stage_expression=LipConfig(**lip, eye_feature_size=21),
        eye=EyeConfig(audio_size=16, noise_size=8, hidden_size=16, bottleneck=8),
        estimator=ResNetConfig(width=4, blocks=(1, 2, 1, 1)),
    )


def filled(shapes: Shapes, seed: int = 1) -> dict[str, Tensor]:
    """A number for every weight, from its name and the seed; sizes such that signals neither die nor explode."""
    return {name: torch.from_numpy(np.asarray(_values(name, shape, seed))) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.zeros((), np.int64)
    draw = np.random.default_rng([zlib.crc32(name.encode()), seed])
    noise = draw.standard_normal(shape).astype(np.float32)
    if name.endswith(("running_var", "modulation.bias", "norm_1.weight", "norm_2.weight", "conv_block.1.weight")):
        return 1 + 0.1 * noise.clip(-3, 3)
    if name.endswith("sharpness"):
        return 4 + 0.5 * noise.clip(-3, 3)
    if name.endswith("offsets"):
        return 15 * noise
    if len(shape) <= 1 or max(shape) == math.prod(shape):
        return 0.1 * noise
    equalised = name.startswith(("enc.net_app", "enc.fc", "dec.")) and ".sft." not in name
    return noise if equalised else noise / np.float32(math.sqrt(math.prod(shape[1:])))


def write_release(
    folder: Path, config: ReleaseConfig, *parts: PartName, two_stage: bool = False, seed: int = 1
) -> dict[PartName, Path]:
    """The files of ``parts`` (all that the authors made by default) as the release saves them."""
    parts = parts or ("animator", "pose", "gaze", "expression")
    sources: dict[PartName, Path] = {}
    for file in RELEASE_FILES:
        if file.part not in parts:
            continue
        state = filled(part_shapes(file.part, config, two_stage=two_stage), seed)
        if file.part == "expression":
            state = {f"module.{name}": tensor for name, tensor in state.items()}
        sources[file.part] = folder / file.file_name
        torch.save({file.key: state} if file.key else state, sources[file.part])
    return sources


@contextlib.contextmanager
def reader_in_this_process() -> Iterator[None]:
    """Checkpoint files are read by the same program, but not in a process of its own: its imports take two seconds.

    For tests of what the files hold or what becomes of them; tests/release/test_import.py has the process, too.
    """

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        *_, path, key, target = command
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), mock.patch.object(_worker, "_limit_resources"):
            code = _worker.main(path, key, target)
        return subprocess.CompletedProcess(command, code, printed.getvalue(), b"")

    with mock.patch("engine.release.read.subprocess.run", run):
        yield
