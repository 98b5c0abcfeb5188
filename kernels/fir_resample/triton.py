"""FIR resampling and what follows it as one Triton kernel: each program makes a tile of pixels and channels.

Imported only where Triton is installed; compiled at the first call.
"""

import torch
import triton
import triton.language as tl

from kernels.conv_epilogue.reference import GAIN, SLOPE
from kernels.tiles import tile_of

_ELEMENTS = 512


def fir_resample_triton(
    x_BCHW: torch.Tensor,
    kernel_C144: torch.Tensor,
    shape: tuple[int, int, int, int],
    up: int,
    down: int,
    padding: int,
    scale_BC: torch.Tensor | None,
    bias_C: torch.Tensor | None,
    activate: bool,
    added_BCHW: torch.Tensor | None,
) -> torch.Tensor:
    """A result of ``shape`` and of x's memory format; strides of all inputs are taken as they are."""
    batch, channels, rows, columns = shape
    last, pixel_block, channel_block = tile_of(x_BCHW, _ELEMENTS)
    format_ = torch.channels_last if last else torch.contiguous_format
    output = torch.empty(shape, dtype=x_BCHW.dtype, device=x_BCHW.device, memory_format=format_)
    if output.numel() == 0:
        return output
    scale, scale_strides = (x_BCHW, (0, 0)) if scale_BC is None else (scale_BC, scale_BC.stride())
    bias, bias_stride = (x_BCHW, 0) if bias_C is None else (bias_C, bias_C.stride(0))
    added, added_strides = (x_BCHW, (0, 0, 0, 0)) if added_BCHW is None else (added_BCHW, added_BCHW.stride())
    channel_blocks = -(-channels // channel_block)
    _resample[(-(-rows * columns // pixel_block) * channel_blocks, batch)](
        x_BCHW, kernel_C144.contiguous(), scale, bias, added, output,
        channels, x_BCHW.shape[2], x_BCHW.shape[3], rows, columns, padding, channel_blocks,
        *x_BCHW.stride(), *scale_strides, bias_stride, *added_strides, *output.stride(),
        UP=up, DOWN=down, SCALE=scale_BC is not None, BIAS=bias_C is not None, ACTIVATE=activate,
        ADDED=added_BCHW is not None, SLOPE_OF=SLOPE, GAIN_OF=GAIN, PIXELS=pixel_block, CHANNELS=channel_block,
    )  # fmt: skip
    return output


@triton.jit  # type: ignore[untyped-decorator]
def _resample(  # type: ignore[no-untyped-def]
    x, kernel, scale, bias, added, output,
    channels, height, width, rows, columns, padding, channel_blocks,
    x_b, x_c, x_y, x_x, scale_b, scale_c, bias_c, added_b, added_c, added_y, added_x,
    output_b, output_c, output_y, output_x,
    UP: tl.constexpr, DOWN: tl.constexpr, SCALE: tl.constexpr, BIAS: tl.constexpr, ACTIVATE: tl.constexpr,
    ADDED: tl.constexpr, SLOPE_OF: tl.constexpr, GAIN_OF: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    item = tl.program_id(1).to(tl.int64)
    pixel = (tile // channel_blocks) * PIXELS + tl.arange(0, PIXELS)
    channel = (tile % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    row = pixel // columns
    column = pixel % columns
    real = channel < channels
    wanted = pixel < rows * columns
    total = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    plane = x + item * x_b + channel[None, :] * x_c
    # Doubling, only every second tap of a row and of a column meets a sample: two of four each.
    TAPS: tl.constexpr = 4 // UP
    for k_y in tl.static_range(TAPS):
        if UP == 2:
            y = (row + padding) // 2 - k_y
            tap_y = row + padding - 2 * y
        else:
            y = row * DOWN + k_y - padding
            tap_y = k_y + tl.zeros_like(row)
        for k_x in tl.static_range(TAPS):
            if UP == 2:
                x_at = (column + padding) // 2 - k_x
                tap_x = column + padding - 2 * x_at
            else:
                x_at = column * DOWN + k_x - padding
                tap_x = k_x + tl.zeros_like(column)
            inside = wanted & (y >= 0) & (y < height) & (x_at >= 0) & (x_at < width)
            weight = tl.load(kernel + tap_y * 4 + tap_x).to(tl.float32)
            places = y * x_y + x_at * x_x
            value = tl.load(plane + places[:, None], mask=inside[:, None] & real[None, :], other=0.0)
            total += value.to(tl.float32) * weight[:, None]
    if SCALE:
        factor = tl.load(scale + item * scale_b + channel * scale_c, mask=real, other=0.0)
        total *= factor.to(tl.float32)[None, :]
    if BIAS:
        total += tl.load(bias + channel * bias_c, mask=real, other=0.0).to(tl.float32)[None, :]
    if ACTIVATE:
        total = tl.where(total > 0, total, total * SLOPE_OF) * GAIN_OF
    within = wanted[:, None] & real[None, :]
    if ADDED:
        places = item * added_b + channel[None, :] * added_c + row[:, None] * added_y + column[:, None] * added_x
        total += tl.load(added + places, mask=within, other=0.0).to(tl.float32)
    places = item * output_b + channel[None, :] * output_c + row[:, None] * output_y + column[:, None] * output_x
    tl.store(output + places, total.to(output.dtype.element_ty), mask=within)
