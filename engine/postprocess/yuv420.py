"""RGB to YUV 4:2:0 as video encoders take it, in tensor operations that every exporter knows.

Y      = w_Y . rgb + 16                      of each pixel
Cb, Cr = w_C . (mean of 2 x 2 pixels) + 128  ITU-R BT.601, limited range (16 to 235)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Rows Y, Cb, Cr over R, G, B in units of 2^-14; Y sums to 219 / 255, chroma to zero. Rounded to whole units, every
# product and sum below is a multiple of 2^-16 under 2^8, which float32 holds exactly in any order: all devices and
# exporters give the same integers.
_UNIT = 1 << 14
_Y = (4207, 8260, 1604)
_CB = (-2428, -4768, 7196)
_CR = (7196, -6026, -1170)


def rgb_to_i420(rgb_B3HW: Tensor) -> Tensor:
    """I420 planes uint8 (B, 3H/2, W) of whole RGB levels 0 to 255 (B, 3, H, W) of even sides; all Y, all Cb, all Cr."""
    batch, _, height, width = rgb_B3HW.shape
    rgb_B3HW = rgb_B3HW.float()
    y_BHW = _weighted(rgb_B3HW, _Y, 16.5)
    mean_B3HW = F.avg_pool2d(rgb_B3HW, 2)
    chroma_B2HW = torch.stack([_weighted(mean_B3HW, row, 128.5) for row in (_CB, _CR)], dim=1)
    return torch.cat([y_BHW, chroma_B2HW.reshape(batch, height // 2, width)], dim=1).to(torch.uint8)


def _weighted(rgb_B3HW: Tensor, row: tuple[int, int, int], offset: float) -> Tensor:
    red, green, blue = (rgb_B3HW[:, index] * (weight / _UNIT) for index, weight in enumerate(row))
    return (red + green + blue + offset).floor()
