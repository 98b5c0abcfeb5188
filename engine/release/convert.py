"""Released tensors to the files and config sections of a weights folder."""

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
from engine.motion.space.bfm_estimators import FaceReconstruction, GazeEstimator
from engine.release.files import PartName, ReleaseConfig
from engine.release.names import (
    ReleasedLayout,
    Shapes,
    animator_layout,
    denoiser_layout,
    eye_layout,
    lip_layout,
    same_layout,
)
from engine.release.read import check_shapes

_VESTIGIAL = ("fc_finetune.weight", "fc_finetune.bias")
"""A layer that L2CS files hold and no one runs."""

_TWO_STAGE_ONLY = "control_encoder.0.weight"
_TWO_STAGE_LIP = "simplewarpper."
"""What the lips' tensors are called by in a two-stage checkpoint."""


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


@dataclasses.dataclass(frozen=True, slots=True)
class _Network:
    """One network of a released file: name of its file here, its config, and where its tensors are there."""

    name: str
    config: Any
    layout: ReleasedLayout
    prefix: str = ""

    @property
    def shapes(self) -> Shapes:
        return {self.prefix + name: shape for name, shape in self.layout.shapes.items()}

    def state(self, released: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.layout.state({name.removeprefix(self.prefix): tensor for name, tensor in released.items()})


def part_shapes(part: PartName, config: ReleaseConfig, *, two_stage: bool = False) -> Shapes:
    """Shape of every tensor of a released file by its name; ``two_stage``: of the expression file in that form."""
    networks = _networks(part, config, two_stage)
    return {name: shape for network in networks for name, shape in network.shapes.items()}


def convert(part: PartName, path: Path, tensors: dict[str, Tensor], config: ReleaseConfig) -> ConvertedPart:
    """Check the tensors of one file (names and shapes) and turn them into ours.

    Args:
        path: where they come from, for messages.

    Raises:
        CheckpointRefused: they are not the released network's.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if part != "l2cs" or name not in _VESTIGIAL}
    two_stage = part == "expression" and _TWO_STAGE_ONLY in tensors
    networks = _networks(part, config, two_stage)
    form = "two-stage expression" if two_stage else "one-stage expression" if part == "expression" else part
    check_shapes(path, tensors, {name: shape for network in networks for name, shape in network.shapes.items()}, form)
    counts = [name for name, value in tensors.items() if not value.is_floating_point()]
    wrong = [name for name in counts if not name.endswith("num_batches_tracked")]
    if wrong:
        raise CheckpointRefused(f"{path} holds whole numbers for weights: {', '.join(wrong[:8])}")
    widened = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return ConvertedPart(
        files={f"{network.name}.safetensors": network.state(widened) for network in networks},
        sections={name: value for network in networks for name, value in _sections(network).items()},
        form=form,
    )


def _networks(part: PartName, config: ReleaseConfig, two_stage: bool) -> list[_Network]:
    with torch.device("meta"):
        match part:
            case "animator":
                return [_Network(part, config.animator, animator_layout(FaceAnimatorNetwork(config.animator)))]
            case "pose" | "gaze":
                denoiser = config.pose if part == "pose" else config.gaze
                return [_Network(part, denoiser, denoiser_layout(PoseDenoiser(denoiser)))]
            case "recon":
                return [_Network(part, config.estimator, same_layout(FaceReconstruction(config.estimator)))]
            case "l2cs":
                return [_Network(part, config.estimator, same_layout(GazeEstimator(config.estimator)))]
            case "expression" if two_stage:
                lip = config.two_stage_expression
                return [
                    _Network("lip", lip, lip_layout(LipNetwork(lip)), _TWO_STAGE_LIP),
                    _Network("eye", config.eye, eye_layout(EyeMotionNetwork(config.eye))),
                ]
            case "expression":
                return [_Network("lip", config.expression, lip_layout(LipNetwork(config.expression)))]


def _sections(network: _Network) -> dict[str, Any]:
    config = dataclasses.asdict(network.config)
    match network.name:
        case "animator":
            return {"animator": "neural", "neural_animator": config}
        case "pose" | "gaze":
            return {network.name: config, f"{network.name}_window": dataclasses.asdict(PoseWindowConfig.paper())}
        case _:
            return {network.name: config}
