"""Appearance encoder: a portrait to its identity code z_R and the feature maps that the decoder warps.

    256 --1x1--> 256 --block--> 128 --block--> 64 ... --block--> 4 --4x4--> identity code
         kept         kept          kept  (all but the 4x4 map)

Shape suffixes: B rows, C channels, H and W pixels, S style.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator.network.equalised import EqualisedConv2d, fused_leaky_relu
from engine.animator.network.fir import FirBlur


class ActivatedConv(nn.Module):
    """Equalised convolution, bias, fused leaky ReLU."""

    def __init__(self, channels: int, out_channels: int, size: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = EqualisedConv2d(channels, out_channels, size, stride=stride, padding=padding)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve and activate (B, C, H, W)."""
        return fused_leaky_relu(self.conv(x_BCHW), self.bias)


class HalvingBlock(nn.Module):
    """Residual block to half the size; what is thinned out is blurred before."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_1 = ActivatedConv(channels, channels, 3, padding=1)
        self.blur = FirBlur(channels, padding=2)
        self.conv_2 = ActivatedConv(channels, out_channels, 3, stride=2)
        self.skip_blur = FirBlur(channels, padding=1, stride=2)
        self.skip_conv = EqualisedConv2d(channels, out_channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H/2, W/2)."""
        main_BCHW: Tensor = self.conv_2(self.blur(self.conv_1(x_BCHW)))
        skip_BCHW: Tensor = self.skip_conv(self.skip_blur(x_BCHW))
        return (main_BCHW + skip_BCHW) * math.sqrt(0.5)


class AppearanceEncoder(nn.Module):
    """Encoder whose widths are those of the decoder at the same size, so that its features fit there."""

    def __init__(self, widths: tuple[int, ...], style_size: int, *, fold: int = 1) -> None:
        """``widths``: channels at 4, 8, 16, ... pixels; ``fold``: pixels of the image along the side of one of the
        finest map's, whose channels they become.
        """
        super().__init__()
        falling = widths[::-1]
        self.fold = fold
        self.stem = ActivatedConv(3 * fold * fold, falling[0], 1)
        self.blocks = nn.ModuleList(
            HalvingBlock(channels, out_channels) for channels, out_channels in itertools.pairwise(falling)
        )
        self.head = EqualisedConv2d(falling[-1], style_size, 4)

    def forward(self, rgb_BCHW: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode portraits, float (B, 3, size, size) in [-1, 1].

        Returns:
            identity code (B, S), and the feature maps from 8x8 up to size / fold.
        """
        x_BCHW: Tensor = self.stem(rgb_BCHW if self.fold == 1 else F.pixel_unshuffle(rgb_BCHW, self.fold))
        features: list[Tensor] = []
        for block in self.blocks:
            features.append(x_BCHW)
            x_BCHW = block(x_BCHW)
        return self.head(x_BCHW).flatten(1), tuple(features[::-1])
