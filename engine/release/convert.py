"""Released tensors to the files and config sections of a weights folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.animator import FaceAnimatorNetwork
from engine.errors import CheckpointRefused
from engine.motion.diffusion.denoiser import PoseDenoiser
from engine.motion.diffusion.window import PoseWindowConfig
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork
from engine.release.animator_names import animator_tensors
from engine.release.layout import PartName, ReleaseConfig, is_two_stage, part_shapes, two_stage_shapes
from engine.release.motion_names import denoiser_tensors, eye_tensors, lip_tensors, two_stage_parts
from engine.release.read import check_shapes

_VESTIGIAL = ("fc_finetune.weight", "fc_finetune.bias")
"""A layer that L2CS files hold and no one runs."""


@dataclasses.dataclass(frozen=True, slots=True)
class ConvertedPart:
    """What one released file becomes.

    Attributes:
        files: tensors of each safetensors file, by its name in the weights folder.
        sections: sections of ``config.json``.
        form: what was recognised, for people.
    """

    files: dict[str, dict[str, Tensor]]
    sections: dict[str, Any]
    form: str


def convert(part: PartName, path: Path, tensors: dict[str, Tensor], config: ReleaseConfig) -> ConvertedPart:
    """Check the tensors of one file (names and shapes) and turn them into ours.

    Args:
        path: where they come from, for messages.

    Raises:
        CheckpointRefused: they are not the released network's.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if part != "l2cs" or name not in _VESTIGIAL}
    two_stage = part == "expression" and is_two_stage(set(tensors))
    expected = two_stage_shapes(config) if two_stage else part_shapes(part, config)
    form = "two-stage expression" if two_stage else "one-stage expression" if part == "expression" else part
    check_shapes(path, tensors, expected, form)
    counts = [name for name, value in tensors.items() if not value.is_floating_point()]
    wrong = [name for name in counts if not name.endswith("num_batches_tracked")]
    if wrong:
        raise CheckpointRefused(f"{path} holds whole numbers for weights: {', '.join(wrong[:8])}")
    widened = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    if part in ("recon", "l2cs"):
        return ConvertedPart({f"{part}.safetensors": widened}, {part: dataclasses.asdict(config.estimator)}, part)
    with torch.device("meta"):
        if part == "animator":
            return _animator(widened, config)
        if two_stage:
            return _two_stage(widened, config)
        if part == "expression":
            lip = LipNetwork(config.expression)
            files = {"lip.safetensors": lip_tensors(widened, lip)}
            return ConvertedPart(files, {"lip": dataclasses.asdict(lip.config)}, form)
        denoiser = PoseDenoiser(config.pose if part == "pose" else config.gaze)
    return ConvertedPart(
        {f"{part}.safetensors": denoiser_tensors(widened, denoiser)},
        {
            part: dataclasses.asdict(denoiser.config),
            f"{part}_window": dataclasses.asdict(PoseWindowConfig.paper()),
        },
        form,
    )


def _animator(released: dict[str, Tensor], config: ReleaseConfig) -> ConvertedPart:
    network = FaceAnimatorNetwork(config.animator)
    return ConvertedPart(
        {"animator.safetensors": animator_tensors(released, network)},
        {"animator": "neural", "neural_animator": dataclasses.asdict(network.config)},
        "animator",
    )


def _two_stage(released: dict[str, Tensor], config: ReleaseConfig) -> ConvertedPart:
    lip, eye = LipNetwork(config.two_stage_expression), EyeMotionNetwork(config.eye)
    lip_part, eye_part = two_stage_parts(released)
    return ConvertedPart(
        {"lip.safetensors": lip_tensors(lip_part, lip), "eye.safetensors": eye_tensors(eye_part, eye)},
        {"lip": dataclasses.asdict(lip.config), "eye": dataclasses.asdict(eye.config)},
        "two-stage expression",
    )
