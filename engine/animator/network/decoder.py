"""Decoder: a point of the latent space and a portrait's feature maps to an image.

    constant 4x4 -> styled conv -> level 8 -> level 16 -> ... -> level 256 -> RGB

    a level      out  --styled, x2--> styled --------------+--> blend --> out of the level
                                         |                 |
                 flow of the level below +--flow head--> flow, mask m
                                                           |
                 portrait's features ------------------> warp * m --[SFT]--> RGB head (+ RGB of the level below)

Shape suffixes: B rows, C channels, H and W pixels, S style.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator.network.equalised import SLOPE, EqualisedConv2d, fused_leaky_relu
from engine.animator.network.fir import FirUpsample
from engine.animator.network.modulated_conv import ModulatedConv2d, StyledConv2d
from kernels.warp_blend import warp_blend

FIRST_SIZE = 4


class FlowHead(nn.Module):
    """Flow and mask of a level, as a correction of the level below's."""

    def __init__(self, channels: int, style_size: int, *, first: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels, 3, 1, style_size, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))
        self.upsample = None if first else FirUpsample(3)

    def forward(self, x_BCHW: Tensor, style_BS: Tensor, below: Tensor | None) -> Tensor:
        """Raw flow x, flow y and mask, (B, 3, H, W)."""
        raw_B3HW: Tensor = self.conv(x_BCHW, style_BS) + self.bias[:, None, None]
        return raw_B3HW if self.upsample is None else self.upsample(below, raw_B3HW)


class _RgbHead(nn.Module):
    """Colours of a level, added to those of the level below. It is activated, and not modulated."""

    def __init__(self, channels: int, *, first: bool) -> None:
        super().__init__()
        self.conv = EqualisedConv2d(channels, 3, 1)
        self.activation_bias = nn.Parameter(torch.zeros(3))
        self.bias = nn.Parameter(torch.zeros(3))
        self.upsample = None if first else FirUpsample(3)

    def forward(self, x_BCHW: Tensor, below: Tensor | None) -> Tensor:
        rgb_B3HW = fused_leaky_relu(self.conv(x_BCHW), self.activation_bias) + self.bias[:, None, None]
        return rgb_B3HW if self.upsample is None else self.upsample(below, rgb_B3HW)


class _FeatureTransform(nn.Module):
    """Spatial feature transform (SFT): x + x a(x) + b(x)."""

    def __init__(self, channels: int, style_size: int) -> None:
        super().__init__()
        self.scale_1 = StyledConv2d(channels, channels, style_size)
        self.scale_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shift_1 = StyledConv2d(channels, channels, style_size)
        self.shift_2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor, style_BS: Tensor) -> Tensor:
        scale_BCHW: Tensor = self.scale_2(F.leaky_relu(self.scale_1(x_BCHW, style_BS), SLOPE))
        shift_BCHW: Tensor = self.shift_2(F.leaky_relu(self.shift_1(x_BCHW, style_BS), SLOPE))
        return x_BCHW + x_BCHW * scale_BCHW + shift_BCHW


class _Level(nn.Module):
    """One size of the decoder; ``first`` is the one that has no flow and no colours below it."""

    def __init__(self, channels: int, width: int, style_size: int, *, first: bool, transform: bool) -> None:
        super().__init__()
        self.up = StyledConv2d(channels, width, style_size, upsample=True)
        self.conv = StyledConv2d(width, width, style_size)
        self.to_flow = FlowHead(width, style_size, first=first)
        self.to_rgb = _RgbHead(width, first=first)
        self.transform = _FeatureTransform(width, style_size) if transform else None

    def forward(
        self, x_BCHW: Tensor, style_BS: Tensor, feature_BCHW: Tensor, raw: Tensor | None, rgb: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What goes to the next level: features, raw flow and mask, colours."""
        x_BCHW = self.conv(self.up(x_BCHW, style_BS), style_BS)
        raw_B3HW: Tensor = self.to_flow(x_BCHW, style_BS, raw)
        # The grid spans the image's edges, half a pixel outside at its border, as the released weights were trained.
        if self.transform is None:
            shown_BCHW, out_BCHW = warp_blend(feature_BCHW, raw_B3HW, x_BCHW, rest="blended", exact_grid=False)
        else:
            # The release takes the blended features for the mask here, and its weights are trained so.
            warped_BCHW, rest_BCHW = warp_blend(feature_BCHW, raw_B3HW, x_BCHW, rest="released", exact_grid=False)
            shown_BCHW = self.transform(warped_BCHW, style_BS)
            out_BCHW = shown_BCHW + rest_BCHW
        return out_BCHW, raw_B3HW, self.to_rgb(shown_BCHW, rgb)


class Decoder(nn.Module):
    """The image of a latent code and a portrait (Fig. 2)."""

    def __init__(self, widths: tuple[int, ...], style_size: int, transform_sizes: tuple[int, ...]) -> None:
        """``widths``: channels at 4, 8, 16, ... pixels; ``transform_sizes``: sizes that have an SFT block."""
        super().__init__()
        self.constant_CHW = nn.Parameter(torch.randn(widths[0], FIRST_SIZE, FIRST_SIZE))
        self.first = StyledConv2d(widths[0], widths[0], style_size)
        self.levels = nn.ModuleList(
            _Level(
                channels,
                width,
                style_size,
                first=index == 0,
                transform=FIRST_SIZE << index + 1 in transform_sizes,
            )
            for index, (channels, width) in enumerate(itertools.pairwise(widths))
        )

    def forward(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Image (B, 3, size, size), in [-1, 1] up to what the network overshoots.

        Args:
            latent_BS: z_R + lambda eta.
            features: the encoder's feature maps from 8x8 up.
        """
        return self.pyramid(latent_BS, features)[-1]

    def pyramid(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> list[Tensor]:
        """Colours after every level, from 8x8 up; the last one is the image. Arguments as `forward`."""
        x_BCHW: Tensor = self.first(self.constant_CHW.expand(latent_BS.shape[0], -1, -1, -1), latent_BS)
        raw: Tensor | None = None
        rgb: Tensor | None = None
        images: list[Tensor] = []
        for level, feature_BCHW in zip(self.levels, features, strict=True):
            x_BCHW, raw, rgb = level(x_BCHW, latent_BS, feature_BCHW, raw, rgb)
            images.append(rgb)
        return images
