"""A start of the flow in closed form: ridge regression from portrait and motion to flow, written into the network.

    flow(p) = b(p) + sum_k c_k(portrait, motion) V_k(p)         c_k linear, V_k the principal maps of the regression

The flow head of a level is already of this form: features x_c(p), each scaled by a style that is linear in the latent.
So the styles are set to c_k, source part by the identity code and motion part by the directions, and the layers below,
with neutral styles, are fitted to draw the maps V_k. What training has left to find is what is not linear.

Shape suffixes as in `engine.animator`; K principal maps, F features of the regression.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import Tensor, nn

from engine.animator import FaceAnimatorNetwork
from engine.animator.network.equalised import EqualisedLinear

_RIDGE = 3.0
_SVD_ROWS = 8000
_ROWS = 2048


def start_linear(
    network: FaceAnimatorNetwork,
    code: nn.Linear,
    code_NF: Tensor,
    motion_NF: Tensor,
    flow_N2HW: Tensor,
    *,
    steps: int = 1500,
    rate: float = 0.01,
) -> float:
    """Set ``code``, motion and decoder so that the flow is the regression's.

    The style must have room for a descriptor (72) for the motion part to be exact.

    Args:
        code: whitened measures to identity code.
        code_NF: whitened measures; motion_NF: shown descriptors in training units.
        flow_N2HW: what they lead to, at the size of one of the decoder's levels.
        steps, rate: of the fit of the maps.

    Returns:
        Share of the maps' weighted variance that the decoder does not draw.
    """
    size = flow_N2HW.shape[-1]
    decoder: Any = network.decoder
    index = size.bit_length() - 4
    channels = decoder.levels[index].to_rgb.conv.weight.shape[1]
    directions = network.config.directions
    weights = _regression(code_NF, motion_NF, flow_N2HW)
    count = min(channels // 2 - 1, directions)
    source_FK, motion_FK, maps_K2HW, spread_K = _principal(*weights, code_NF, motion_NF, count, size)
    with torch.no_grad():
        code.weight[:count] = (source_FK / spread_K).T
        code.bias[:count] = 0.0
        _set_motion(network, motion_FK / spread_K)
        shown = torch.cat([weights[2].view(1, 2, size, size), maps_K2HW * spread_K[:, None, None, None]])
        level = decoder.levels[index]
        head, modulation = level.to_flow.conv, level.to_flow.conv.modulation
        scale = shown.square().mean((2, 3)).sqrt().clamp_min(1e-6)
        modulation.weight.zero_()
        modulation.bias.fill_(1.0)
        for place, channel in enumerate(range(0, 2 * len(shown), 2)):
            for axis in (0, 1):
                head.weight[axis, channel + axis] = scale[place, axis] / head.scale
                if place:
                    modulation.weight[channel + axis, place - 1] = 1 / modulation.scale
                    modulation.bias[channel + axis] = 0.0
        target_CHW = (shown / scale[..., None, None]).flatten(0, 1)
        # Maps that move much are drawn with more care.
        weight_C11 = (scale / scale.mean()).flatten()[:, None, None]
    return _fit_maps(decoder, index, target_CHW, weight_C11, network.config.style_size, steps, rate)


def _regression(code_NF: Tensor, motion_NF: Tensor, flow_N2HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (F, 2HW) of measures and of motion, and the bias (2HW,)."""
    x_NF = torch.cat([code_NF, motion_NF, torch.ones(len(code_NF), 1)], 1)
    gram_FF, right = (
        torch.zeros(x_NF.shape[1], x_NF.shape[1]),
        torch.zeros(x_NF.shape[1], flow_N2HW[0].numel()),
    )
    for start in range(0, len(x_NF), _ROWS):
        rows = slice(start, start + _ROWS)
        gram_FF += x_NF[rows].T @ x_NF[rows]
        right += x_NF[rows].T @ torch.atanh(flow_N2HW[rows].float()).flatten(1)
    solved = torch.linalg.solve(gram_FF + _RIDGE * torch.eye(len(gram_FF)), right)
    split = code_NF.shape[1]
    return solved[:split], solved[split:-1], solved[-1]


def _principal(
    source: Tensor,
    motion: Tensor,
    bias: Tensor,
    code_NF: Tensor,
    motion_NF: Tensor,
    count: int,
    size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (F, K) of measures and of motion, maps (K, 2, H, W) and the spread (K,) of their coefficients."""
    some = slice(None, None, max(1, len(code_NF) // _SVD_ROWS))
    flow = code_NF[some] @ source + motion_NF[some] @ motion
    maps = torch.linalg.eigh(flow.T @ flow).eigenvectors[:, -count:].flip(1).T
    spread_K = (flow @ maps.T).square().mean(0).sqrt()
    return source @ maps.T, motion @ maps.T, maps.view(-1, 2, size, size), spread_K


def _set_motion(network: FaceAnimatorNetwork, motion_FK: Tensor) -> None:
    """Let the first directions be the first axes of the latent, and their magnitudes linear in the shown motion."""
    count = motion_FK.shape[1]
    weight_SM = network.basis.weight_SM
    weight_SM[:, :count] = torch.eye(len(weight_SM))[:, :count]
    weight_SM[:count, count:] = 0.0
    sign_K = torch.diagonal(network.basis(torch.eye(network.config.directions)))[:count].sign()
    style_size = network.config.style_size
    first, layers = network.mapping.first, cast(list[EqualisedLinear], list(network.head.layers))
    layers[0].weight[:, :style_size] = 0.0
    through = layers[0].weight[:, style_size:] * layers[0].scale @ first.weight[:, :, -1]
    for layer in layers[1:-1]:
        through = layer.weight * layer.scale @ through
    for layer in layers:
        layer.bias.zero_()
    layers[-1].weight[:count] = (sign_K * motion_FK).T @ torch.linalg.pinv(through) / layers[-1].scale


def _fit_maps(
    decoder: Any,
    index: int,
    target_CHW: Tensor,
    weight_C11: Tensor,
    style_size: int,
    steps: int,
    rate: float,
) -> float:
    """Fit constant and convolutions up to a level to draw the maps whatever the style."""
    convolutions = [
        decoder.first,
        *(part for level in decoder.levels[: index + 1] for part in (level.up, level.conv)),
    ]
    fitted = [decoder.constant_CHW, *itertools.chain(*((c.conv.weight, c.bias) for c in convolutions))]
    for convolution in convolutions:
        nn.init.zeros_(convolution.conv.modulation.weight)
    style_1S = torch.zeros(1, style_size)
    optimiser = torch.optim.Adam(fitted, rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    missed = 1.0
    for _ in range(steps):
        x_BCHW, raw = decoder.first(decoder.constant_CHW[None], style_1S), None
        for level in decoder.levels[:index]:
            x_BCHW, raw = level.unwarped(x_BCHW, style_1S, raw)
        level = decoder.levels[index]
        x_BCHW = level.conv(level.up(x_BCHW, style_1S), style_1S)
        loss = ((x_BCHW[0, : len(target_CHW)] - target_CHW).square() * weight_C11).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        missed = float(loss.detach())
    return missed
