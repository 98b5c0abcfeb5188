"""What the released checkpoint files hold: file, key inside, and the name and shape of every tensor.

Layouts are worked out from our configs, so that a small network has a small released layout too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from engine.animator import FaceAnimatorConfig
from engine.motion.diffusion.denoiser import DenoiserConfig
from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipConfig
from engine.motion.space.bfm_estimators import FaceReconstruction, GazeEstimator
from engine.motion.space.coefficients import DESCRIPTOR_SIZE
from engine.motion.space.resnet import ResNetConfig

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor by its released name."""

PartName = Literal["animator", "pose", "gaze", "expression", "recon", "l2cs"]

_TWO_STAGE_ONLY = "control_encoder.0.weight"
_Item = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file that the release uses; without a ``key`` the tensors lie at its top.

    ``recon`` and ``l2cs`` are the estimators of its motion space, Deep3DFaceRecon and L2CS-Net, by other authors.
    """

    part: PartName
    file_name: str
    key: str


RELEASE_FILES: tuple[ReleaseFile, ...] = (
    ReleaseFile("animator", "FaceAnimator_GoHD.pt", "gen_pose"),
    ReleaseFile("pose", "audio2pose.pt", "model"),
    ReleaseFile("gaze", "audio2gaze.pt", "model"),
    ReleaseFile("expression", "audio2exp.pth", "state_dict_G"),
    ReleaseFile("recon", "epoch_20.pth", "net_recon"),
    ReleaseFile("l2cs", "L2CSNet_gaze360.pkl", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """Layouts of the networks in a release; the defaults are the authors'."""

    animator: FaceAnimatorConfig = field(default_factory=FaceAnimatorConfig.paper)
    pose: DenoiserConfig = field(default_factory=DenoiserConfig.paper)
    gaze: DenoiserConfig = field(default_factory=lambda: DenoiserConfig.paper(channels=2))
    expression: LipConfig = field(default_factory=LipConfig.paper)
    two_stage_expression: LipConfig = field(default_factory=lambda: LipConfig.paper(eye_feature=True))
    eye: EyeConfig = field(default_factory=EyeConfig.paper)
    estimator: ResNetConfig = field(default_factory=ResNetConfig)


def part_shapes(part: PartName, config: ReleaseConfig) -> Shapes:
    """Layout of one file; of the expression file in its one-stage form."""
    if part == "animator":
        return dict(_animator(config.animator))
    if part == "expression":
        return dict(_lip(config.expression))
    if part in ("recon", "l2cs"):
        with torch.device("meta"):
            estimator: nn.Module = (FaceReconstruction if part == "recon" else GazeEstimator)(config.estimator)
        return {name: tuple(tensor.shape) for name, tensor in estimator.state_dict().items()}
    return dict(_denoiser(config.pose if part == "pose" else config.gaze))


def two_stage_shapes(config: ReleaseConfig) -> Shapes:
    """Layout of the expression file in its two-stage form."""
    return dict(_two_stage(config.two_stage_expression, config.eye))


def is_two_stage(names: set[str]) -> bool:
    """Whether the names of an expression checkpoint are those of the two-stage form."""
    return _TWO_STAGE_ONLY in names


def _layer(name: str, *shape: int) -> Iterator[_Item]:
    """Weight of ``shape`` and a bias as long as its first axis."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", (shape[0],)


def _animator(config: FaceAnimatorConfig) -> Iterator[_Item]:
    levels = len(config.widths) - 1
    yield from _encoder(config.widths[::-1], config.style_size)
    mapping = config.mapping_width
    yield from _layer("enc.semantics_enc.first.0", mapping, DESCRIPTOR_SIZE, config.mapping_kernel)
    for index in range(len(config.mapping_dilations)):
        yield from _layer(f"enc.semantics_enc.encoder{index}.1", mapping, mapping, 3)
    style = config.style_size
    sizes = (style + mapping, *[style] * (config.head_layers - 1), config.directions)
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        yield from _layer(f"enc.fc.{index}", fan_out, fan_in)
    yield "dec.direction.weight", (style, config.directions)
    yield "dec.input.input", (1, config.widths[0], 4, 4)
    yield from _styled("dec.conv1", config.widths[0], config.widths[0], style)
    yield from _rgb("dec.to_rgb1", config.widths[0])
    for level in range(levels):
        before, width = config.widths[level], config.widths[level + 1]
        yield from _styled(f"dec.convs.{2 * level}", before, width, style)
        yield f"dec.convs.{2 * level}.conv.blur.kernel", (4, 4)
        yield from _styled(f"dec.convs.{2 * level + 1}", width, width, style)
        yield from _rgb(f"dec.to_rgbs.{level}", width)
        yield f"dec.to_rgbs.{level}.upsample.kernel", (4, 4)
        yield f"dec.to_flows.{level}.bias", (1, 3, 1, 1)
        yield f"dec.to_flows.{level}.upsample.kernel", (4, 4)
        yield from _modulated(f"dec.to_flows.{level}.conv", width, 3, style, 1)
    transformed = [level for level in range(levels) if 8 << level in config.transform_sizes]
    for index, level in enumerate(transformed):
        width = config.widths[level + 1]
        for part in ("scale", "shift"):
            yield from _styled(f"dec.sft.{index}.{part}1", width, width, style)
            yield from _layer(f"dec.sft.{index}.{part}2", width, width, 3, 3)


def _encoder(falling: tuple[int, ...], style: int) -> Iterator[_Item]:
    root = "enc.net_app.convs"
    yield f"{root}.0.0.weight", (falling[0], 3, 1, 1)
    yield f"{root}.0.1.bias", (1, falling[0], 1, 1)
    for index, (width, after) in enumerate(itertools.pairwise(falling), start=1):
        block = f"{root}.{index}"
        yield f"{block}.conv1.0.weight", (width, width, 3, 3)
        yield f"{block}.conv1.1.bias", (1, width, 1, 1)
        yield f"{block}.conv2.0.kernel", (4, 4)
        yield f"{block}.conv2.1.weight", (after, width, 3, 3)
        yield f"{block}.conv2.2.bias", (1, after, 1, 1)
        yield f"{block}.skip.0.kernel", (4, 4)
        yield f"{block}.skip.1.weight", (after, width, 1, 1)
    yield f"{root}.{len(falling)}.weight", (style, falling[-1], 4, 4)


def _styled(name: str, fan_in: int, fan_out: int, style: int) -> Iterator[_Item]:
    yield from _modulated(f"{name}.conv", fan_in, fan_out, style, 3)
    yield f"{name}.noise.weight", (1,)
    yield f"{name}.activate.bias", (1, fan_out, 1, 1)


def _modulated(name: str, fan_in: int, fan_out: int, style: int, kernel: int) -> Iterator[_Item]:
    yield f"{name}.weight", (1, fan_out, fan_in, kernel, kernel)
    yield from _layer(f"{name}.modulation", fan_in, style)


def _rgb(name: str, width: int) -> Iterator[_Item]:
    yield f"{name}.bias", (1, 3, 1, 1)
    yield f"{name}.conv.0.weight", (3, width, 1, 1)
    yield f"{name}.conv.1.bias", (1, 3, 1, 1)


def _denoiser(config: DenoiserConfig) -> Iterator[_Item]:
    width, steps = config.width, config.step_width
    yield from _layer("input_projection.conv1d", width, config.channels, 1)
    yield from _layer("diffusion_embedding.projection1", steps, 2 * config.step_frequencies)
    yield from _layer("diffusion_embedding.projection2", steps, steps)
    for index in range(config.blocks):
        block = f"residual_layers.{index}"
        yield from _layer(f"{block}.nn.in_proj", width, width)
        for layer in range(config.attention_layers):
            dilation = config.dilations[index % len(config.dilations)]
            yield from _attention_block(f"{block}.nn.attention_blocks.{layer}", config, dilation)
        yield from _layer(f"{block}.nn.out_proj", 2 * width, width)
        yield from _layer(f"{block}.diffusion_projection", width, steps)
        yield from _layer(f"{block}.local_cond_projection", width, config.condition_size)
        yield from _layer(f"{block}.output_projection.conv1d", 2 * width, width, 1)
    yield from _layer("skip_projection.conv1d", width, width, 1)
    yield from _layer("output_projection.conv1d", config.channels, width, 1)


def _attention_block(name: str, config: DenoiserConfig, dilation: int) -> Iterator[_Item]:
    width, hidden = config.width, config.feed_forward_factor * config.width
    yield f"{name}.attn.in_proj.weight", (3 * width, width)
    yield from _layer(f"{name}.attn.gate", 2 * width, width)
    scorer = f"{name}.attn.position_scorer"
    for parameter in ("offsets", "amplitudes", "sharpness"):
        yield f"{scorer}.{parameter}", (1, config.kernels, config.heads, 1, 1)
    yield f"{scorer}.bias", (1, config.heads, 1, 1)
    yield f"{scorer}.slopes", (config.heads, 1, 1)
    kind, taps = ("conv", (3,)) if dilation else ("linear", ())
    yield from _layer(f"{name}.ff.{kind}_1", hidden, width, *taps)
    yield from _layer(f"{name}.ff.{kind}_2", width, hidden, *taps)
    for norm in ("norm_1", "norm_2"):
        yield from _layer(f"{name}.{norm}", width)


def _lip(config: LipConfig) -> Iterator[_Item]:
    audio = config.audio_encoder()
    convs: list[tuple[int, int, tuple[int, int]]] = []
    before = 1
    for width in audio.widths:
        convs += [(before, width, (3, 3)), *[(width, width, (3, 3))] * audio.residuals]
        before = width
    convs += [(before, audio.size, audio.cover()), (audio.size, audio.size, (1, 1))]
    for index, (fan_in, fan_out, kernel) in enumerate(convs):
        block = f"audio_encoder.{index}.conv_block"
        yield from _layer(f"{block}.0", fan_out, fan_in, *kernel)
        yield from _layer(f"{block}.1", fan_out)
        yield f"{block}.1.running_mean", (fan_out,)
        yield f"{block}.1.running_var", (fan_out,)
        yield f"{block}.1.num_batches_tracked", ()
    inputs = config.audio_size + config.expression_size + config.eye_feature_size
    yield from _layer("mapping1", config.expression_size, inputs)


def _two_stage(lip: LipConfig, eye: EyeConfig) -> Iterator[_Item]:
    for name, shape in _lip(lip):
        yield f"simplewarpper.{name}", shape
    hidden, features = eye.hidden_size, eye.eye_feature_size
    yield from _layer("control_encoder.0", eye.bottleneck, features)
    yield from _layer("control_encoder.2", hidden, eye.bottleneck)
    inputs = eye.audio_size + hidden + eye.expression_size + eye.noise_size
    for index in range(eye.layers):
        yield f"lstm.weight_ih_l{index}", (4 * hidden, hidden if index else inputs)
        yield f"lstm.weight_hh_l{index}", (4 * hidden, hidden)
        yield f"lstm.bias_ih_l{index}", (4 * hidden,)
        yield f"lstm.bias_hh_l{index}", (4 * hidden,)
    yield from _layer("output.0", eye.bottleneck, hidden)
    yield from _layer("output.2", features, eye.bottleneck)
