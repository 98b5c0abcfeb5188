"""Names of the released checkpoints, mapped to ours.

A rule is (pattern of the released name, our name). A name that no rule knows is an error; one whose rule maps
to None is a constant that our modules compute themselves. Tensors may differ from ours by axes of length one
and, in three-tap convs, by the order of axes (the release holds (out, in, tap), we hold (out, tap * in)).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from engine.errors import WeightsCorrupt
from engine.motion.diffusion.denoiser import PoseDenoiser
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork

Rules = tuple[tuple[str, str | None], ...]

_LIP: Rules = (
    (r"audio_encoder\.(\d+)\.conv_block\.0\.(weight|bias)", r"audio_encoder.layers.\1.conv.\2"),
    (r"audio_encoder\.(\d+)\.conv_block\.1\.(.+)", r"audio_encoder.layers.\1.norm.\2"),
    (r"mapping1\.(weight|bias)", r"map.0.\1"),
)
_EYE: Rules = (
    (r"control_encoder\.(0|2)\.(weight|bias)", r"feature_encoder.\1.\2"),
    (r"lstm\.(.+)", r"lstm.\1"),
    (r"output\.(0|2)\.(weight|bias)", r"head.\1.\2"),
)
_ATTENTION = r"residual_layers\.(\d+)\.nn\.attention_blocks\.(\d+)"
_DENOISER: Rules = (
    (r"diffusion_embedding\.projection([12])\.(.+)", r"step_embedding.layer_\1.\2"),
    (r"(input|skip|output)_projection\.conv1d\.(.+)", r"\1_proj.\2"),
    (r"residual_layers\.(\d+)\.diffusion_projection\.(.+)", r"blocks.\1.step_proj.\2"),
    (r"residual_layers\.(\d+)\.local_cond_projection\.(.+)", r"blocks.\1.condition_proj.\2"),
    (r"residual_layers\.(\d+)\.output_projection\.conv1d\.(.+)", r"blocks.\1.out_proj.\2"),
    (r"residual_layers\.(\d+)\.nn\.(in|out)_proj\.(.+)", r"blocks.\1.body_\2.\3"),
    (_ATTENTION + r"\.attn\.position_scorer\.slopes", None),
    (
        _ATTENTION + r"\.attn\.position_scorer\.(offsets|amplitudes|sharpness)",
        r"blocks.\1.attention_blocks.\2.attention.position_scorer.\3_KH",
    ),
    (
        _ATTENTION + r"\.attn\.position_scorer\.bias",
        r"blocks.\1.attention_blocks.\2.attention.position_scorer.bias_H",
    ),
    (_ATTENTION + r"\.attn\.(in_proj|gate)\.(.+)", r"blocks.\1.attention_blocks.\2.attention.\3.\4"),
    (
        _ATTENTION + r"\.ff\.(?:conv|linear)_([12])\.(.+)",
        r"blocks.\1.attention_blocks.\2.feed_forward.layer_\3.\4",
    ),
    (_ATTENTION + r"\.(norm_[12])\.(.+)", r"blocks.\1.attention_blocks.\2.\3.\4"),
)
_TWO_STAGE_LIP = "simplewarpper."
_PARALLEL = "module."


def lip_tensors(released: Mapping[str, Tensor], network: LipNetwork) -> dict[str, Tensor]:
    """Released expression checkpoint (names with or without ``module.``) as the state of ``network``.

    Raises:
        WeightsCorrupt: a name is unknown, or a tensor does not fit the network.
    """
    bare = {name.removeprefix(_PARALLEL): tensor for name, tensor in released.items()}
    return renamed_tensors(bare, _LIP, network)


def two_stage_parts(released: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a released two-stage checkpoint in what `lip_tensors` and what `eye_tensors` take."""
    bare = {name.removeprefix(_PARALLEL): tensor for name, tensor in released.items()}
    lip = {
        name.removeprefix(_TWO_STAGE_LIP): tensor for name, tensor in bare.items() if name.startswith(_TWO_STAGE_LIP)
    }
    return lip, {name: tensor for name, tensor in bare.items() if not name.startswith(_TWO_STAGE_LIP)}


def eye_tensors(released: Mapping[str, Tensor], network: EyeMotionNetwork) -> dict[str, Tensor]:
    """Eye part of a released two-stage checkpoint as the state of ``network``; raises as `lip_tensors`."""
    return renamed_tensors(released, _EYE, network)


def denoiser_tensors(released: Mapping[str, Tensor], network: PoseDenoiser) -> dict[str, Tensor]:
    """Released pose or gaze checkpoint as the state of ``network``; raises as `lip_tensors`."""
    return renamed_tensors(released, _DENOISER, network)


def renamed_tensors(released: Mapping[str, Tensor], rules: Rules, network: nn.Module) -> dict[str, Tensor]:
    """A released checkpoint as the state of ``network``, each name by the first rule that matches all of it.

    Raises:
        WeightsCorrupt: no rule knows a name, a tensor does not fit the network, or the network lacks some.
    """
    own = network.state_dict()
    renamed: dict[str, Tensor] = {}
    for name, tensor in released.items():
        ours = _own_name(name, rules)
        if ours is None:
            continue
        if ours not in own:
            raise WeightsCorrupt(f"released tensor '{name}' has no place ({ours}) in this layout")
        renamed[ours] = _fitted(name, tensor, own[ours])
    missing = sorted(set(own) - set(renamed))
    if missing:
        raise WeightsCorrupt(f"the released checkpoint lacks {len(missing)} tensors, first {missing[:3]}")
    return renamed


def _own_name(name: str, rules: Rules) -> str | None:
    for pattern, ours in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return None if ours is None else match.expand(ours)
    raise WeightsCorrupt(f"'{name}' is no tensor of the released layout")


def _fitted(name: str, tensor: Tensor, own: Tensor) -> Tensor:
    if tensor.ndim == 3 and own.ndim == 2 and tensor.shape[2] > 1:
        tensor = tensor.permute(0, 2, 1).flatten(1)
    if [size for size in tensor.shape if size > 1] != [size for size in own.shape if size > 1]:
        raise WeightsCorrupt(f"'{name}' has shape {tuple(tensor.shape)}, which does not fit {tuple(own.shape)}")
    return tensor.reshape(own.shape)
