"""Label, mark and YUV 4:2:0 as one Triton kernel: each program makes a piece of two rows of one image.

Imported only where Triton is installed; compiled at the first call.
"""

import torch
import triton
import triton.language as tl

from kernels.yuv420.reference import COEFFICIENTS, LabelPatch, Layout, Matrix

_BLOCK = 256


def yuv420_triton(
    image_B3HW: torch.Tensor,
    layout: Layout,
    matrix: Matrix,
    label: LabelPatch | None,
    pattern_BHW: torch.Tensor | None,
    out: torch.Tensor,
) -> None:
    """Fill ``out``, which may lie in pinned memory; strides of the inputs are taken as they are."""
    batch, _, height, width = image_B3HW.shape
    # Triton wants a pointer for what is absent too; it reads nothing there.
    keep, add, pattern = image_B3HW, image_B3HW, image_B3HW
    top = left = rows = columns = 0
    badge_strides: tuple[int, ...] = (0, 0, 0, 0, 0)
    pattern_strides: tuple[int, ...] = (0, 0, 0)
    if label is not None:
        keep, add, top, left = label.keep_HW, label.add_3HW, label.top_px, label.left_px
        rows, columns = keep.shape
        badge_strides = (*keep.stride(), *add.stride())
    if pattern_BHW is not None:
        pattern, pattern_strides = pattern_BHW, pattern_BHW.stride()
    weights = [weight / (1 << 14) for row in COEFFICIENTS[matrix] for weight in row]
    columns_of_blocks = -(-width // _BLOCK)
    _planes[(columns_of_blocks * (height // 2), batch)](
        image_B3HW, keep, add, pattern, out,
        height, width, columns_of_blocks, top, left, rows, columns,
        *image_B3HW.stride(), *badge_strides, *pattern_strides,
        *weights,
        BYTES=image_B3HW.dtype == torch.uint8, LABEL=label is not None, MARK=pattern_BHW is not None,
        NV12=layout == "nv12", BLOCK=_BLOCK,
        enable_fp_fusion=False,  # the label's product is rounded before its sum, as everywhere else
    )  # fmt: skip


@triton.jit
def _nearest(value):  # type: ignore[no-untyped-def]
    # Half to even: beyond 2^23 float32 holds whole numbers only.
    return (value + 12582912.0) - 12582912.0


@triton.jit
def _clip(value):  # type: ignore[no-untyped-def]
    return tl.minimum(tl.maximum(value, 0.0), 255.0)


@triton.jit  # type: ignore[untyped-decorator]
def _colour(  # type: ignore[no-untyped-def]
    image, keep, add, mark, y, x, within, channel,
    top, left, rows, columns, keep_y, keep_x, add_c, add_y, add_x, image_x,
    BYTES: tl.constexpr, LABEL: tl.constexpr, MARK: tl.constexpr,
):  # fmt: skip
    level = tl.load(image + x.to(tl.int64) * image_x, mask=within, other=0).to(tl.float32)
    if not BYTES:
        # Cut before it is rounded: the same, and small enough for the rounding above.
        level = _nearest(_clip(level * 127.5 + 127.5))
    if LABEL:
        at_y, at_x = y - top + tl.zeros_like(x), x - left
        inside = within & (at_y >= 0) & (at_y < rows) & (at_x >= 0) & (at_x < columns)
        share = tl.load(keep + at_y * keep_y + at_x * keep_x, mask=inside, other=1.0)
        badge = tl.load(add + channel * add_c + at_y * add_y + at_x * add_x, mask=inside, other=0.0)
        level = tl.floor(level * share + badge)
    if MARK:
        level = _nearest(_clip(level + mark))
    return level


@triton.jit  # type: ignore[untyped-decorator]
def _halved(row_0, row_1, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.sum(tl.reshape(row_0 + row_1, (BLOCK // 2, 2)), axis=1) * 0.25


@triton.jit  # type: ignore[untyped-decorator]
def _planes(  # type: ignore[no-untyped-def]
    image, keep, add, pattern, out,
    height, width, columns_of_blocks, top, left, rows, columns,
    image_b, image_c, image_y, image_x,
    keep_y, keep_x, add_c, add_y, add_x,
    pattern_b, pattern_y, pattern_x,
    yr, yg, yb, ur, ug, ub, vr, vg, vb,
    BYTES: tl.constexpr, LABEL: tl.constexpr, MARK: tl.constexpr, NV12: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(1).to(tl.int64)
    pair = tl.program_id(0) // columns_of_blocks
    start = (tl.program_id(0) % columns_of_blocks) * BLOCK
    x = start + tl.arange(0, BLOCK)
    within = x < width
    frame = out + item * (height * width // 2 * 3)
    red_0 = tl.zeros((BLOCK,), dtype=tl.float32)
    green_0 = tl.zeros((BLOCK,), dtype=tl.float32)
    blue_0 = tl.zeros((BLOCK,), dtype=tl.float32)
    for row in tl.static_range(2):
        y = 2 * pair + row
        line = image + item * image_b + y.to(tl.int64) * image_y
        mark = 0.0
        if MARK:
            places = item * pattern_b + y.to(tl.int64) * pattern_y + x.to(tl.int64) * pattern_x
            mark = tl.load(pattern + places, mask=within, other=0.0)
        red = _colour(
            line, keep, add, mark, y, x, within, 0,
            top, left, rows, columns, keep_y, keep_x, add_c, add_y, add_x, image_x, BYTES, LABEL, MARK,
        )  # fmt: skip
        green = _colour(
            line + image_c, keep, add, mark, y, x, within, 1,
            top, left, rows, columns, keep_y, keep_x, add_c, add_y, add_x, image_x, BYTES, LABEL, MARK,
        )  # fmt: skip
        blue = _colour(
            line + 2 * image_c, keep, add, mark, y, x, within, 2,
            top, left, rows, columns, keep_y, keep_x, add_c, add_y, add_x, image_x, BYTES, LABEL, MARK,
        )  # fmt: skip
        luma = tl.floor(red * yr + green * yg + blue * yb + 16.5)
        tl.store(frame + y.to(tl.int64) * width + x, luma.to(tl.uint8), mask=within)
        if row == 0:
            red_0, green_0, blue_0 = red, green, blue
        else:
            red_0 = _halved(red_0, red, BLOCK)
            green_0 = _halved(green_0, green, BLOCK)
            blue_0 = _halved(blue_0, blue, BLOCK)
    u = tl.floor(red_0 * ur + green_0 * ug + blue_0 * ub + 128.5).to(tl.uint8)
    v = tl.floor(red_0 * vr + green_0 * vg + blue_0 * vb + 128.5).to(tl.uint8)
    chroma = frame + height.to(tl.int64) * width
    if NV12:
        place = pair.to(tl.int64) * width + x
        tl.store(chroma + place, tl.interleave(u, v), mask=within)
    else:
        half = start // 2 + tl.arange(0, BLOCK // 2)
        inside = half < width // 2
        place = pair.to(tl.int64) * (width // 2) + half
        tl.store(chroma + place, u, mask=inside)
        tl.store(chroma + (height // 2).to(tl.int64) * (width // 2) + place, v, mask=inside)
