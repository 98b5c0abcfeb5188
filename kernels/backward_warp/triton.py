"""Backward warp as one Triton kernel: each program fetches a run of output pixels for all channels of one image.

Reading the grid once for all channels is what it saves over ``grid_sample``, together with the passes that scale the
grid and convert the type. Imported only where Triton is installed; compiled at the first call.
"""

import torch
import triton
import triton.language as tl

_BLOCK = 256


def backward_warp_triton(image: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """Warp on the GPU; strides of both inputs are taken as they are, the result is contiguous."""
    batch, channels, height, width = image.shape
    rows, columns = grid.shape[1:3]
    output = torch.empty((batch, channels, rows, columns), dtype=image.dtype, device=image.device)
    if output.numel() == 0:
        return output
    blocks = (-(-rows * columns // _BLOCK), batch)
    _warp[blocks](
        image, grid, output,
        channels, height, width, rows, columns,
        *image.stride(), *grid.stride(),
        BICUBIC=mode == "bicubic", ROUND=image.dtype == torch.uint8, BLOCK=_BLOCK,
    )  # fmt: skip
    return output


@triton.jit
def _weight(distance):  # type: ignore[no-untyped-def]
    # Cubic convolution with a = -0.75: two arcs, for |d| <= 1 and for 1 < |d| < 2.
    d = tl.abs(distance)
    near = (1.25 * d - 2.25) * d * d + 1.0
    far = ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0
    return tl.where(d <= 1.0, near, tl.where(d < 2.0, far, 0.0))


@triton.jit  # type: ignore[untyped-decorator]
def _warp(  # type: ignore[no-untyped-def]
    image, grid, output,
    channels, height, width, rows, columns,
    image_b, image_c, image_y, image_x,
    grid_b, grid_y, grid_x, grid_2,
    BICUBIC: tl.constexpr, ROUND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    item = tl.program_id(1).to(tl.int64)
    within = pixel < rows * columns
    place = grid + item * grid_b + (pixel // columns) * grid_y + (pixel % columns) * grid_x
    x = tl.load(place, mask=within, other=0.0).to(tl.float32)
    y = tl.load(place + grid_2, mask=within, other=0.0).to(tl.float32)
    if not BICUBIC:
        x = tl.minimum(tl.maximum(x, 0.0), width - 1.0)
        y = tl.minimum(tl.maximum(y, 0.0), height - 1.0)
    else:
        # Farther out only the border pixel counts; bounding keeps the integers small.
        x = tl.minimum(tl.maximum(x, -3.0), width + 2.0)
        y = tl.minimum(tl.maximum(y, -3.0), height + 2.0)
    x_floor = tl.floor(x)
    y_floor = tl.floor(y)
    x_part = x - x_floor
    y_part = y - y_floor
    x_int = x_floor.to(tl.int32)
    y_int = y_floor.to(tl.int32)
    for channel in range(channels):
        plane = image + item * image_b + channel * image_c
        total = tl.zeros((BLOCK,), dtype=tl.float32)
        if BICUBIC:
            for row in tl.static_range(-1, 3):
                y_at = tl.minimum(tl.maximum(y_int + row, 0), height - 1)
                line = tl.zeros((BLOCK,), dtype=tl.float32)
                for column in tl.static_range(-1, 3):
                    x_at = tl.minimum(tl.maximum(x_int + column, 0), width - 1)
                    value = tl.load(plane + y_at * image_y + x_at * image_x, mask=within, other=0)
                    line += value.to(tl.float32) * _weight(x_part - column)
                total += line * _weight(y_part - row)
        else:
            for row in tl.static_range(0, 2):
                y_at = tl.minimum(y_int + row, height - 1)
                y_weight = y_part if row == 1 else 1.0 - y_part
                for column in tl.static_range(0, 2):
                    x_at = tl.minimum(x_int + column, width - 1)
                    x_weight = x_part if column == 1 else 1.0 - x_part
                    value = tl.load(plane + y_at * image_y + x_at * image_x, mask=within, other=0)
                    total += value.to(tl.float32) * (x_weight * y_weight)
        if ROUND:
            # Half to even, as torch.round.
            total = tl.minimum(tl.maximum(total, 0.0), 255.0)
            low = tl.floor(total)
            part = total - low
            odd = low - 2.0 * tl.floor(low * 0.5)
            total = low + tl.where((part > 0.5) | ((part == 0.5) & (odd == 1.0)), 1.0, 0.0)
        target = output + (item * channels + channel) * rows * columns + pixel
        tl.store(target, total.to(output.dtype.element_ty), mask=within)
