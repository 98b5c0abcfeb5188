"""Decoder that is guided by the mesh: it moves to their place the parts of its image that the landmarks do not.

    constant 4x4 -> styled conv -> level 8 -> ... -> level 128 -> finish 256 -> RGB

    a level      out of the level below --styled, x2--> + seen ------styled--------+--> blend --> out of the level
                                                        |                |         |
                 mesh's flow, image folded ----1x1----+     flow head: correction, mask m
                                                                         |
                 portrait's features ----------------------> warp by mesh's flow + correction, * m

    finish       mesh's image -> warp by the correction alone, where it lies outside the face
                 (the correction is smooth, so that it can be enlarged and applied to a larger image of the mesh)

Flow, mask and blend are those of `engine.animator.network.decoder` (Fig. 2), with two differences. Where each place
comes from is known from the landmarks' mesh before anything is learnt, so levels learn what it misses: hair, ears,
shoulders. And what the last level fetches is not the portrait but the mesh's image: irises turn in it, the mouth has an
inside. The last doubling is a fold of four pixels into channels, which costs a third of a level.

Shape suffixes: B rows, C channels, H and W pixels, S style.
"""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator.network.decoder import FIRST_SIZE, FlowHead
from engine.animator.network.equalised import EqualisedConv2d
from engine.animator.network.fir import FirUpsample
from engine.animator.network.modulated_conv import StyledConv2d
from kernels.warp_blend import flow_warp_reference, warp_blend

FOLD = 2
"""Pixels of the image along the side of one of the finest level's."""
GUIDE_CHANNELS = 6
"""Of a guide: the mesh's image RGB in [-1, 1], its flow x, y before the activation tanh, and how far each pixel lies
outside the face: 0 on it, where the mesh is right, to 1."""

_SEES_FROM = 32
"""Smallest level in pixels that also takes the mesh's image; below, its fold would be of hundreds of channels."""
_FLOW_GAIN = 1 / 32
"""Factor of what the heads give. A flow of 1 is half of the image, where corrections are a few pixels; and a step of
Adam moves every weight by about the same, so that the scale has to be in the layer."""


class _GuidedLevel(nn.Module):
    def __init__(self, channels: int, width: int, style_size: int, *, first: bool, fold: int) -> None:
        super().__init__()
        self.up = StyledConv2d(channels, width, style_size, upsample=True)
        self.conv = StyledConv2d(width, width, style_size)
        self.see = EqualisedConv2d(2 + 3 * fold * fold, width, 1)
        self.to_flow = FlowHead(width, style_size, first=first)
        self.fold = fold

    def forward(
        self,
        x_BCHW: Tensor,
        style_BS: Tensor,
        feature_BCHW: Tensor,
        raw: Tensor | None,
        mesh_B2HW: Tensor,
        colours_B3HW: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Features, and correction and mask (B, 3, H, W) before their activations.

        Args:
            mesh_B2HW: flow of the mesh at this level's size; colours_B3HW: image of the mesh, as large as it is.
        """
        seen = [mesh_B2HW / _FLOW_GAIN]
        if self.fold:
            seen.append(F.pixel_unshuffle(colours_B3HW, self.fold))
        x_BCHW = self.up(x_BCHW, style_BS) + self.see(torch.cat(seen, 1))
        x_BCHW = self.conv(x_BCHW, style_BS)
        raw_B3HW: Tensor = self.to_flow(x_BCHW, style_BS, raw)
        moved_B3HW = torch.cat([_FLOW_GAIN * raw_B3HW[:, :2] + mesh_B2HW, raw_B3HW[:, 2:]], 1)
        _, out_BCHW = warp_blend(feature_BCHW, moved_B3HW, x_BCHW, rest="blended", exact_grid=True)
        return out_BCHW, raw_B3HW


class _Finish(nn.Module):
    """Twice the size: the correction of the flow at the size of the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = EqualisedConv2d(width, 2 * FOLD * FOLD, 3, padding=1)
        self.bias = nn.Parameter(torch.zeros(2))
        self.upsample = FirUpsample(2)

    def forward(self, x_BCHW: Tensor, raw_B3HW: Tensor) -> Tensor:
        """Correction of the flow (B, 2, 2H, 2W) before its activation."""
        own_B2HW = F.pixel_shuffle(self.conv(x_BCHW), FOLD) + self.bias[:, None, None]
        correction_B2HW: Tensor = _FLOW_GAIN * self.upsample(raw_B3HW[:, :2], own_B2HW)
        return correction_B2HW


class GuidedDecoder(nn.Module):
    """The image of a latent code, a portrait and a guide."""

    def __init__(self, widths: tuple[int, ...], style_size: int) -> None:
        """``widths``: channels at 4, 8, 16, ... pixels, up to half of the image's size."""
        super().__init__()
        size = FIRST_SIZE << len(widths)
        self.constant_CHW = nn.Parameter(torch.randn(widths[0], FIRST_SIZE, FIRST_SIZE))
        self.first = StyledConv2d(widths[0], widths[0], style_size)
        self.levels = nn.ModuleList(
            _GuidedLevel(
                channels,
                width,
                style_size,
                first=index == 0,
                fold=size // (FIRST_SIZE << index + 1) if FIRST_SIZE << index + 1 >= _SEES_FROM else 0,
            )
            for index, (channels, width) in enumerate(itertools.pairwise(widths))
        )
        self.finish = _Finish(widths[-1])

    @torch.no_grad()
    def shrink(self, share: float) -> None:
        """Scale the correction: 0 shows the mesh's image alone. In place, before the decoder is frozen."""
        heads: list[Any] = [level.to_flow for level in self.levels]
        flows = [part[:2] for head in heads for part in (head.conv.weight, head.bias)]
        for part in (*flows, *self.finish.parameters()):
            part.mul_(share)

    def forward(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Image (B, 3, size, size), in [-1, 1] up to what the network overshoots.

        Args:
            latent_BS: z_R + lambda eta.
            features: feature maps from 8x8 up, and last the guide (B, 6, size, size), see `GUIDE_CHANNELS`.
        """
        image_B3HW: Tensor = flow_warp_reference(
            features[-1][:, :3], self.correct(latent_BS, features), exact_grid=True
        )
        return image_B3HW

    def correct(self, latent_BS: Tensor, features: tuple[Tensor, ...]) -> Tensor:
        """Correction of the flow of the mesh's image (B, 2, size, size) before its activation, for any size of that
        image; arguments as `forward`.
        """
        *maps, guide_B6HW = features
        colours_B3HW, mesh_B2HW, outside_B1HW = guide_B6HW[:, :3], guide_B6HW[:, 3:5], guide_B6HW[:, 5:]
        flows: list[Tensor] = []
        for _ in maps:
            mesh_B2HW = F.avg_pool2d(mesh_B2HW, 2)
            flows.insert(0, mesh_B2HW)
        x_BCHW: Tensor = self.first(self.constant_CHW.expand(latent_BS.shape[0], -1, -1, -1), latent_BS)
        raw: Tensor | None = None
        for level, feature_BCHW, flow_B2HW in zip(self.levels, maps, flows, strict=True):
            x_BCHW, raw = level(x_BCHW, latent_BS, feature_BCHW, raw, flow_B2HW, colours_B3HW)
        correction_B2HW: Tensor = outside_B1HW * self.finish(x_BCHW, raw)
        return correction_B2HW
