"""Layouts and inputs that the neural animator is tried with."""

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.animator import FaceAnimatorConfig
from engine.motion.space.coefficients import DESCRIPTOR_SIZE

SMALL = FaceAnimatorConfig(
    widths=(24, 20, 16, 12, 8),
    style_size=32,
    directions=8,
    head_layers=3,
    past_frames=4,
    future_frames=2,
    mapping_width=24,
    mapping_kernel=3,
    mapping_dilations=(1, 1),
    transform_sizes=(32, 64),
)
"""64x64 pixels; what the paper's layout has, in small."""

GUIDED = dataclasses.replace(
    FaceAnimatorConfig.guided_lite(),
    widths=(16, 12, 12, 10, 8),
    style_size=24,
    directions=6,
    mapping_width=16,
)
"""128x128 pixels."""

CASES = {"small_released": SMALL}


def inputs(config: FaceAnimatorConfig, rows: int = 2) -> tuple[Tensor, Tensor]:
    """Smooth images (rows, 3, size, size) in [-1, 1] and windows of descriptors."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(rows, 3, 8, 8, generator=generator) * 2 - 1
    size = config.image_size
    rgb = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
    return rgb, torch.randn(rows, config.window_frames, DESCRIPTOR_SIZE, generator=generator)


def guides(config: FaceAnimatorConfig, rows: int = 2) -> tuple[Tensor, ...]:
    """Guide of a guided layout (rows, 6, size, size): smooth colours, a flow of some pixels, an edge; else nothing."""
    if not config.guided:
        return ()
    generator = torch.Generator().manual_seed(8)
    size = config.image_size
    coarse = torch.rand(rows, 6, 6, 6, generator=generator) * 2 - 1
    coarse[:, 3:5] *= 0.05
    coarse[:, 5] = (coarse[:, 5] + 1) / 2
    return (F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True),)
