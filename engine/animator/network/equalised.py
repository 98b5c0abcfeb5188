"""Equalised layers: weights are drawn from N(0, 1) and scaled by 1/sqrt(fan-in) at run time, so that all learn
at the same pace.

For inference `freeze` writes the scales into the weights, which changes no result and spares a pass over all
weights for every frame.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels.conv_epilogue import SLOPE, conv_epilogue

__all__ = ["SLOPE", "EqualisedConv2d", "EqualisedLinear", "Freezable", "freeze", "fused_leaky_relu"]


def fused_leaky_relu(x_BCHW: Tensor, bias_C: Tensor, scale_BC: Tensor | None = None) -> Tensor:
    """sqrt(2) leaky_relu(x scale + bias), slope 0.2, which keeps the variance of what it is given."""
    return conv_epilogue(x_BCHW, bias_C, scale_BC)


class Freezable(nn.Module):
    """A module that can turn what depends on its weights alone into constants, once, for inference."""

    frozen = False

    def freeze(self) -> None:
        """Do so in place; further calls do nothing. The state dict is no longer one to train or to save."""
        if not self.frozen:
            with torch.no_grad():
                self._freeze()
            self.frozen = True

    def _freeze(self) -> None:
        raise NotImplementedError


def freeze(module: nn.Module) -> None:
    """Freeze every `Freezable` in ``module``."""
    for child in module.modules():
        if isinstance(child, Freezable):
            child.freeze()


class EqualisedConv2d(Freezable):
    """Equalised convolution without bias."""

    def __init__(self, channels: int, out_channels: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, channels, size, size))
        self.scale = 1 / math.sqrt(channels * size * size)
        self.stride, self.padding = stride, padding

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        weight = self.weight if self.frozen else self.weight * self.scale
        return F.conv2d(x_BCHW, weight, stride=self.stride, padding=self.padding)

    def _freeze(self) -> None:
        self.weight.mul_(self.scale)


class EqualisedLinear(Freezable):
    """Equalised linear layer; the bias starts at ``bias`` and is not scaled."""

    def __init__(self, size: int, out_size: int, *, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_size, size))
        self.bias = nn.Parameter(torch.full((out_size,), bias))
        self.scale = 1 / math.sqrt(size)

    def forward(self, x_BI: Tensor) -> Tensor:
        """(B, I) to (B, O)."""
        weight = self.weight if self.frozen else self.weight * self.scale
        return F.linear(x_BI, weight, self.bias)

    def _freeze(self) -> None:
        self.weight.mul_(self.scale)
