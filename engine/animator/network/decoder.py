"""Decoder: a point of the latent space and a portrait's feature maps to an image.

    constant 4x4 -> styled conv -> level 8 -> level 16 -> ... -> level 256 -> RGB

    a level      out  --styled, x2--> styled --------------+--> blend --> out of the level
                                         |                 |
                 flow of the level below +--flow head--> flow, mask m
                                                           |
                 portrait's features ------------------> warp * m --[SFT]--> RGB head (+ RGB of the level below)

Shape suffixes: B rows, C channels, H and W pixels, S style.
"""

from __future__ import annotations

import itertools
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator.network.equalised import SLOPE, EqualisedConv2d, Freezable, fused_leaky_relu
from engine.animator.network.fir import FirUpsample
from engine.animator.network.modulated_conv import ModulatedConv2d, StyledConv2d
from kernels.warp_blend import Rest, warp_blend

MaskMode = Literal["paper", "released"]
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
        return self.activate(self.conv(x_BCHW), below)

    def activate(self, colours_B3HW: Tensor, below: Tensor | None) -> Tensor:
        """The head after its convolution."""
        rgb_B3HW = fused_leaky_relu(colours_B3HW, self.activation_bias) + self.bias[:, None, None]
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

    def __init__(
        self,
        channels: int,
        width: int,
        style_size: int,
        *,
        first: bool,
        transform: bool,
        paint: bool,
        mask_mode: MaskMode,
        exact_grid: bool,
    ) -> None:
        super().__init__()
        self.mask_mode, self.exact_grid = mask_mode, exact_grid
        self.up = StyledConv2d(channels, width, style_size, upsample=True)
        self.conv = StyledConv2d(width, width, style_size)
        self.to_flow = FlowHead(width, style_size, first=first)
        self.to_rgb = _RgbHead(width, first=first)
        self.transform = _FeatureTransform(width, style_size) if transform else None
        self.paint = EqualisedConv2d(width, 3, 1) if paint else None
        self.fetches_colours = False

    def unwarped(self, x_BCHW: Tensor, style_BS: Tensor, raw: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features and raw flow as `forward` gives them for a portrait whose features are zero."""
        x_BCHW, raw_B3HW = self._flowing(x_BCHW, style_BS, raw)
        return x_BCHW * torch.sigmoid(-raw_B3HW[:, 2:]), raw_B3HW

    def _flowing(self, x_BCHW: Tensor, style_BS: Tensor, below: Tensor | None) -> tuple[Tensor, Tensor]:
        x_BCHW = self.conv(self.up(x_BCHW, style_BS), style_BS)
        return x_BCHW, self.to_flow(x_BCHW, style_BS, below)

    def forward(
        self, x_BCHW: Tensor, style_BS: Tensor, feature_BCHW: Tensor, raw: Tensor | None, rgb: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What goes to the next level: features, raw flow and mask, colours."""
        x_BCHW, raw = self._flowing(x_BCHW, style_BS, raw)
        if self.fetches_colours:
            own = None if self.paint is None else self.paint(x_BCHW)
            warped_BCHW, painted = warp_blend(feature_BCHW, raw, own, rest="kept", exact_grid=self.exact_grid)
            return x_BCHW, raw, _sum(self.to_rgb.activate(warped_BCHW, rgb), painted)
        rest = self._rest if self.paint is None else "kept"
        warped_BCHW, rest_BCHW = warp_blend(feature_BCHW, raw, x_BCHW, rest=rest, exact_grid=self.exact_grid)
        painted = None if self.paint is None else self.paint(rest_BCHW)
        if self.paint is not None and self._rest == "released":
            rest_BCHW = x_BCHW * (1 - (warped_BCHW + rest_BCHW))
        shown_BCHW = warped_BCHW if self.transform is None else self.transform(warped_BCHW, style_BS)
        out_BCHW = rest_BCHW if rest == "blended" else shown_BCHW + rest_BCHW
        return out_BCHW, raw, _sum(self.to_rgb(shown_BCHW, rgb), painted)

    @property
    def _rest(self) -> Rest:
        """What is added to what is shown. Blended, there is nothing more to add.

        The release takes the blended features for the mask at levels with SFT, and its weights are trained so.
        """
        if self.transform is None:
            return "blended"
        return "released" if self.mask_mode == "released" else "kept"


class Decoder(Freezable):
    """The image of a latent code and a portrait (Fig. 2).

    Nothing but the colours needs what the last level fetches, and warp and mask commute with the 1x1 convolution
    to colours. So a frozen decoder convolves first, once per portrait (`fetched`), and fetches three channels.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        style_size: int,
        *,
        transform_sizes: tuple[int, ...] = (),
        paint_sizes: tuple[int, ...] = (),
        mask_mode: MaskMode = "paper",
        exact_grid: bool = False,
    ) -> None:
        """``widths``: channels at 4, 8, 16, ... pixels; ``transform_sizes``: sizes that have an SFT block.

        ``paint_sizes``: sizes whose colours are also taken from what the mask keeps of the decoder's own features,
        and not only from the portrait's: what no portrait shows can then be painted.

        ``mask_mode``: how a level with SFT keeps what was not warped: by 1 - mask ("paper"), or as the
        released weights were trained ("released").
        ``exact_grid``: a flow of zero fetches each pixel from itself. The released weights were trained with a
        grid that spans the picture's edges, half a pixel outside at its border.
        """
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
                paint=FIRST_SIZE << index + 1 in paint_sizes,
                mask_mode=mask_mode,
                exact_grid=exact_grid,
            )
            for index, (channels, width) in enumerate(itertools.pairwise(widths))
        )

    @property
    def _last(self) -> _Level:
        return cast(_Level, self.levels[-1])

    def _freeze(self) -> None:
        self._last.fetches_colours = self._last.transform is None

    def fetched(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The encoder's feature maps as the levels take them: frozen, the last may be colours (B, 3, size, size)."""
        if not self._last.fetches_colours:
            return features
        return (*features[:-1], self._last.to_rgb.conv(features[-1]))

    def forward(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Picture (B, 3, size, size), in [-1, 1] up to what the network overshoots.

        Args:
            latent_BS: z_R + lambda eta.
            features: `fetched` feature maps from 8x8 up.
        """
        return self.pyramid(latent_BS, features)[-1]

    def pyramid(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Colours after every level, from 8x8 up; the last one is the image. Arguments as `forward`."""
        return tuple(rgb_B3HW for rgb_B3HW, _ in self.stages(latent_BS, features))

    def stages(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
        """Colours (B, 3, H, W) and flow (B, 2, H, W) after every level, from 8x8 up.

        The flow says where in the portrait a place of the image comes from: x, y relative to the place itself,
        in halves of the image. Training looks at it; with fewer ``features`` the image stops at their size.
        """
        x_BCHW: Tensor = self.first(self.constant_CHW.expand(latent_BS.shape[0], -1, -1, -1), latent_BS)
        raw: Tensor | None = None
        rgb: Tensor | None = None
        outputs: list[tuple[Tensor, Tensor]] = []
        for level, feature_BCHW in zip(self.levels[: len(features)], features, strict=True):
            x_BCHW, raw, rgb = level(x_BCHW, latent_BS, feature_BCHW, raw, rgb)
            outputs.append((rgb, torch.tanh(raw[:, :2])))
        return outputs


def _sum(rgb_B3HW: Tensor, painted: Tensor | None) -> Tensor:
    return rgb_B3HW if painted is None else rgb_B3HW + painted
