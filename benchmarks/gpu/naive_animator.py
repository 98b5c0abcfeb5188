"""The yardstick: the animator as its equations are written, to tell what our form saves.

    every row has weights of its own     w'[b] = scale w s[b] d[b], then one convolution with B groups
    nothing is kept                      scales, Q of the motion basis, squared weights: for every frame anew

It is the network of `engine.animator` with another convolution, so its images are the same up to rounding.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.modulated_conv import ModulatedConv2d

_EPSILON = 1e-8


def naive_network(config: FaceAnimatorConfig, state: dict[str, Tensor]) -> FaceAnimatorNetwork:
    """The network in its naive form, with weights that were not frozen."""
    network = FaceAnimatorNetwork(config)
    network.load_state_dict(state)
    for child in network.modules():
        if isinstance(child, ModulatedConv2d):
            child.convolve = _Naive(child)  # type: ignore[method-assign]
    return network.eval().requires_grad_(False)


class _Naive:
    def __init__(self, conv: ModulatedConv2d) -> None:
        self._conv = conv

    def __call__(self, x_BIHW: Tensor, style_BS: Tensor) -> tuple[Tensor, None]:
        conv = self._conv
        rows, channels, height, width = x_BIHW.shape
        modulation_BI = conv.modulation(style_BS)
        weight_BOIkk = conv.scale * conv.weight * modulation_BI[:, None, :, None, None]
        if conv.demodulate:
            energy_BO = weight_BOIkk.float().square().sum((2, 3, 4))
            weight_BOIkk = weight_BOIkk * torch.rsqrt(energy_BO + _EPSILON).to(x_BIHW.dtype)[..., None, None, None]
        x_1NHW = x_BIHW.reshape(1, rows * channels, height, width)
        if conv.blur is None:
            y = F.conv2d(x_1NHW, weight_BOIkk.flatten(0, 1), padding=conv.size // 2, groups=rows)
            return y.reshape(rows, -1, height, width), None
        turned = weight_BOIkk.transpose(1, 2).flatten(0, 1)
        y = F.conv_transpose2d(x_1NHW, turned, stride=2, groups=rows)
        return y.reshape(rows, -1, *y.shape[2:]), None  # the caller applies the blur
