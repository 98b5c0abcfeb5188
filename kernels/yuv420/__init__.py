"""An image to YUV 4:2:0 as encoders take it, with the visible label and the invisible mark in the same pass.

    levels = round(127.5 image + 127.5)          uint8 images are levels already
    levels = floor(levels keep + add)              where the label lies
    levels = round(levels + pattern)               the mark
    Y      = w_Y . levels + 16                     each pixel
    Cb, Cr = w_C . mean of four pixels + 128       ITU-R BT.601 or BT.709, limited range

One read of the image and one write of half as many bytes; the planes may be written straight into pinned memory of
the host, which spares the copy that would follow.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from kernels.choice import choose, require
from kernels.errors import ImplementationUnavailable
from kernels.yuv420.reference import (
    LabelPatch,
    Layout,
    Matrix,
    finished_rgb_reference,
    rgb_to_yuv420_reference,
    yuv420_reference,
)

__all__ = [
    "Implementation",
    "LabelPatch",
    "Layout",
    "Matrix",
    "finished_rgb_reference",
    "rgb_to_yuv420_reference",
    "yuv420",
]

Implementation = Literal["auto", "reference", "triton", "cupy"]
_MOST_PIXELS = 1 << 28
_TYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)


def yuv420(
    image_B3HW: Tensor,
    *,
    layout: Layout = "i420",
    matrix: Matrix = "bt601",
    label: LabelPatch | None = None,
    pattern_BHW: Tensor | None = None,
    out: Tensor | None = None,
    impl: Implementation = "auto",
) -> Tensor:
    """Planes of ``image_B3HW``, labelled and marked.

    Args:
        image_B3HW: RGB, (B, 3, H, W) with even sides and any strides; floating point in [-1, 1] (what overshoots is
            cut) or uint8 levels.
        layout: "i420": all Y, then all Cb, then all Cr; "nv12": all Y, then Cb and Cr in turn.
        matrix: "bt601" or "bt709"; the result is of limited range (16 to 235).
        label: None for none; its tensors on the image's device.
        pattern_BHW: float32 (B, H, W), levels that the mark adds to all three colours; None for none.
        out: contiguous uint8 (B, 3H/2, W) to write into: on the image's device, or in the host's pinned memory, where
            it is complete once the current stream is.
        impl: "reference", "triton" or "cupy" (both CUDA); all give the same integers. "auto" as `kernels.choice` says.

    Returns:
        uint8 (B, 3H/2, W), which is ``out`` where that is given: each row a frame, its planes one after the other.

    Raises:
        ValueError: shapes, types or devices do not fit.
        ImplementationUnavailable: ``impl`` cannot run here.
    """
    if impl not in get_args(Implementation):
        raise ValueError(f"impl must be one of {get_args(Implementation)}, not {impl!r}")
    _check(image_B3HW, layout, matrix, label, pattern_BHW, out)
    chosen = choose("yuv420", image_B3HW, ("triton", "cupy")) if impl == "auto" else impl
    if chosen == "reference":
        planes = yuv420_reference(image_B3HW, layout, matrix, label, pattern_BHW)
        return planes if out is None else out.copy_(planes, non_blocking=True)
    require("yuv420", chosen, image_B3HW.device)
    if image_B3HW[0, 0].numel() > _MOST_PIXELS:
        raise ImplementationUnavailable(f"yuv420 impl={chosen!r} takes up to {_MOST_PIXELS} pixels an image")
    if out is None:
        batch, _, height, width = image_B3HW.shape
        shape = (batch, height * 3 // 2, width)
        out = torch.empty(shape, dtype=torch.uint8, device=image_B3HW.device)
    if out.numel() == 0:
        return out
    if chosen == "triton":
        from kernels.yuv420.triton import yuv420_triton

        yuv420_triton(image_B3HW, layout, matrix, label, pattern_BHW, out)
    else:
        from kernels.yuv420.cupy import yuv420_cupy

        yuv420_cupy(image_B3HW, layout, matrix, label, pattern_BHW, out)
    return out


def _check(
    image_B3HW: Tensor,
    layout: str,
    matrix: str,
    label: LabelPatch | None,
    pattern_BHW: Tensor | None,
    out: Tensor | None,
) -> None:
    if layout not in get_args(Layout) or matrix not in get_args(Matrix):
        raise ValueError(f"layout is one of {get_args(Layout)} and matrix of {get_args(Matrix)}")
    if image_B3HW.ndim != 4 or image_B3HW.shape[1] != 3:
        raise ValueError(f"yuv420 takes images (B, 3, H, W), not {tuple(image_B3HW.shape)}")
    batch, _, height, width = image_B3HW.shape
    if height % 2 or width % 2 or not height or not width:
        raise ValueError(f"4:2:0 needs even sides, not {width} x {height}")
    if image_B3HW.dtype not in _TYPES:
        raise ValueError(f"images must be one of {_TYPES}, not {image_B3HW.dtype}")
    if pattern_BHW is not None:
        if pattern_BHW.shape != (batch, height, width) or pattern_BHW.dtype != torch.float32:
            raise ValueError(f"the mark must be float32 {(batch, height, width)}")
        _same_device(image_B3HW, pattern_BHW)
    if label is not None:
        rows, columns = label.keep_HW.shape
        if label.add_3HW.shape != (3, rows, columns) or label.keep_HW.dtype != torch.float32:
            raise ValueError("a label is keep (h, w) and add (3, h, w), float32")
        if label.add_3HW.dtype != torch.float32:
            raise ValueError("a label is keep (h, w) and add (3, h, w), float32")
        inside = 0 <= label.top_px <= height - rows and 0 <= label.left_px <= width - columns
        if not inside:
            raise ValueError(f"the label of {columns} x {rows} leaves the image of {width} x {height}")
        _same_device(image_B3HW, label.keep_HW, label.add_3HW)
    if out is not None:
        if out.shape != (batch, height * 3 // 2, width) or out.dtype != torch.uint8 or not out.is_contiguous():
            raise ValueError(f"out must be contiguous uint8 {(batch, height * 3 // 2, width)}")
        if out.device != image_B3HW.device and not out.is_pinned():
            raise ValueError(f"out must be on {image_B3HW.device} or in pinned memory, not on {out.device}")


def _same_device(image_B3HW: Tensor, *others: Tensor) -> None:
    for other in others:
        if other.device != image_B3HW.device:
            raise ValueError(f"the image is on {image_B3HW.device} but its label or mark on {other.device}")
