"""Label, mark and YUV 4:2:0 in plain PyTorch: the definition the other implementations are held to.

Every sum of the colour conversion is a whole number of 2^-16 below 2^8, so float32 holds it exactly, in any order,
fused or not: all implementations give the same integers, and the reference can be exported as it is.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Layout = Literal["i420", "nv12"]
Matrix = Literal["bt601", "bt709"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPatch:
    """A badge of (h, w) pixels whose upper left one lies at (top_px, left_px): rgb keep + add, cut to whole levels.

    Attributes:
        keep_HW: float32 (h, w), share of the image that shines through.
        add_3HW: float32 (3, h, w), the badge's own levels plus the half that turns cutting into rounding.
    """

    keep_HW: Tensor
    add_3HW: Tensor
    top_px: int
    left_px: int


def _coefficients(red: float, blue: float) -> tuple[tuple[int, int, int], ...]:
    """Rows Y, Cb, Cr over R, G, B in 2^-14, for full range in and limited range out; chroma rows sum to zero."""
    green, unit = 1 - red - blue, 1 << 14
    luma = [219 / 255 * share * unit for share in (red, green, blue)]
    y_red, y_blue, y_sum = round(luma[0]), round(luma[2]), round(219 / 255 * unit)
    peak = round(224 / 255 / 2 * unit)
    cb_red = round(-peak * red / (1 - blue))
    cr_blue = round(-peak * blue / (1 - red))
    return (
        (y_red, y_sum - y_red - y_blue, y_blue),
        (cb_red, -peak - cb_red, peak),
        (peak, -peak - cr_blue, cr_blue),
    )


COEFFICIENTS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "bt601": _coefficients(0.299, 0.114),
    "bt709": _coefficients(0.2126, 0.0722),
}


def finished_rgb_reference(image_B3HW: Tensor, label: LabelPatch | None, pattern_BHW: Tensor | None) -> Tensor:
    """uint8 (B, 3, H, W): whole levels, then the label, then the mark. Arguments as `kernels.yuv420.yuv420`."""
    if image_B3HW.dtype == torch.uint8:
        levels_B3HW = image_B3HW.float()
    else:
        # In float32: half precision has no room for the half-steps between 128 and 255.
        levels_B3HW = (image_B3HW.float() * 127.5 + 127.5).round().clamp(0, 255)
    if label is not None:
        height, width = label.keep_HW.shape
        rows = slice(label.top_px, label.top_px + height)
        columns = slice(label.left_px, label.left_px + width)
        levels_B3HW = levels_B3HW.clone()
        area_B3HW = levels_B3HW[:, :, rows, columns]
        levels_B3HW[:, :, rows, columns] = (area_B3HW * label.keep_HW + label.add_3HW).floor()
    if pattern_BHW is not None:
        levels_B3HW = (levels_B3HW + pattern_BHW[:, None]).round().clamp(0, 255)
    return levels_B3HW.to(torch.uint8)


def rgb_to_yuv420_reference(rgb_B3HW: Tensor, layout: Layout, matrix: Matrix) -> Tensor:
    """uint8 (B, 3H/2, W) of uint8 (B, 3, H, W) with even sides; chroma is that of the mean of four pixels."""
    batch, _, height, width = rgb_B3HW.shape
    rgb_B3HW = rgb_B3HW.float()
    y, cb, cr = COEFFICIENTS[matrix]
    y_BHW = _weighted(rgb_B3HW, y, 16.5)
    mean_B3HW = functional.avg_pool2d(rgb_B3HW, 2)
    chroma = [_weighted(mean_B3HW, row, 128.5) for row in (cb, cr)]
    if layout == "i420":
        rest_B = torch.stack(chroma, dim=1).reshape(batch, height // 2, width)
    else:
        rest_B = torch.stack(chroma, dim=-1).reshape(batch, height // 2, width)
    return torch.cat([y_BHW, rest_B], dim=1).to(torch.uint8)


def _weighted(rgb_B3HW: Tensor, row: tuple[int, int, int], offset: float) -> Tensor:
    red, green, blue = (rgb_B3HW[:, index] * (weight / (1 << 14)) for index, weight in enumerate(row))
    return (red + green + blue + offset).floor()


def yuv420_reference(
    image_B3HW: Tensor,
    layout: Layout,
    matrix: Matrix,
    label: LabelPatch | None,
    pattern_BHW: Tensor | None,
) -> Tensor:
    """Both steps, one after the other."""
    return rgb_to_yuv420_reference(finished_rgb_reference(image_B3HW, label, pattern_BHW), layout, matrix)
