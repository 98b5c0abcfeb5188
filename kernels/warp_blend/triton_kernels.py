"""The Triton kernels of `kernels.warp_blend.triton`: a program makes a tile of pixels and channels.

Places, the mask and sums are float32, or float64 where an input is (DOUBLE). `kernels.warp_blend.triton` has the maths.
"""

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _exact(value, DOUBLE: tl.constexpr):  # type: ignore[no-untyped-def]
    return value.to(tl.float64) if DOUBLE else value.to(tl.float32)


@triton.jit
def _sigmoid(value):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + tl.exp(-value))


@triton.jit  # type: ignore[untyped-decorator]
def _sample_place(raw, at, size, EXACT_GRID: tl.constexpr, DOUBLE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Place in pixels along one axis, and the derivative of it by the raw flow."""
    flow = 2.0 * _sigmoid(2.0 * raw) - 1.0
    at = _exact(at, DOUBLE)
    if EXACT_GRID:
        identity = (2.0 * at + 1.0) / size - 1.0
    else:
        identity = 2.0 * at / tl.maximum(size - 1, 1) - 1.0
    return ((flow + identity + 1.0) * size - 1.0) * 0.5, (1.0 - flow * flow) * (0.5 * size)


@triton.jit  # type: ignore[untyped-decorator]
def _places(  # type: ignore[no-untyped-def]
    raw, item, pixel, wanted, height, width, raw_b, raw_c, raw_y, raw_x,
    EXACT_GRID: tl.constexpr, DOUBLE: tl.constexpr,
):  # fmt: skip
    row = pixel // width
    column = pixel % width
    source = raw + item * raw_b + row * raw_y + column * raw_x
    x, d_x = _sample_place(_exact(tl.load(source, mask=wanted, other=0.0), DOUBLE), column, width, EXACT_GRID, DOUBLE)
    y, d_y = _sample_place(
        _exact(tl.load(source + raw_c, mask=wanted, other=0.0), DOUBLE), row, height, EXACT_GRID, DOUBLE
    )
    mask = _sigmoid(_exact(tl.load(source + 2 * raw_c, mask=wanted, other=0.0), DOUBLE))
    return x, y, mask, d_x, d_y


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    feature, raw, x, warped, rest, channels, height, width, channel_blocks,
    feature_b, feature_c, feature_y, feature_x, raw_b, raw_c, raw_y, raw_x, x_b, x_c, x_y, x_x,
    out_b, out_c, out_y, out_x,
    RELEASED: tl.constexpr, EXACT_GRID: tl.constexpr, DOUBLE: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    item = tl.program_id(1).to(tl.int64)
    pixel = (tile // channel_blocks) * PIXELS + tl.arange(0, PIXELS)
    channel = (tile % channel_blocks) * CHANNELS + tl.arange(0, CHANNELS)
    wanted = pixel < height * width
    real = channel < channels
    at_x, at_y, mask, _, _ = _places(
        raw, item, pixel, wanted, height, width, raw_b, raw_c, raw_y, raw_x, EXACT_GRID, DOUBLE
    )
    left = tl.floor(at_x)
    top = tl.floor(at_y)
    part_x = at_x - left
    part_y = at_y - top
    plane = feature + item * feature_b + channel[None, :] * feature_c
    total = _exact(tl.zeros((PIXELS, CHANNELS), dtype=tl.float32), DOUBLE)
    for row in tl.static_range(2):
        y_at = top.to(tl.int32) + row
        weight_y = part_y if row == 1 else 1.0 - part_y
        for column in tl.static_range(2):
            x_at = left.to(tl.int32) + column
            weight = weight_y * (part_x if column == 1 else 1.0 - part_x)
            inside = wanted & (y_at >= 0) & (y_at < height) & (x_at >= 0) & (x_at < width)
            places = y_at * feature_y + x_at * feature_x
            value = tl.load(plane + places[:, None], mask=inside[:, None] & real[None, :], other=0.0)
            total += _exact(value, DOUBLE) * weight[:, None]
    total *= mask[:, None]
    within = wanted[:, None] & real[None, :]
    line = (pixel // width)[:, None]
    place = (pixel % width)[:, None]
    target = item * out_b + channel[None, :] * out_c + line * out_y + place * out_x
    tl.store(warped + target, total.to(warped.dtype.element_ty), mask=within)
    source = x + item * x_b + channel[None, :] * x_c + line * x_y + place * x_x
    own = _exact(tl.load(source, mask=within, other=0.0), DOUBLE)
    result = own * (1.0 - mask)[:, None] + total
    if RELEASED:
        result = own * (1.0 - result)
    tl.store(rest + target, result.to(rest.dtype.element_ty), mask=within)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    feature, raw, x, d_warped, d_rest, d_feature, d_raw, d_x, channels, height, width,
    feature_b, feature_c, feature_y, feature_x, raw_b, raw_c, raw_y, raw_x, x_b, x_c, x_y, x_x,
    warped_b, warped_c, warped_y, warped_x, rest_b, rest_c, rest_y, rest_x,
    sum_b, sum_c, sum_y, sum_x, d_raw_b, d_raw_c,
    RELEASED: tl.constexpr, EXACT_GRID: tl.constexpr, DOUBLE: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    wanted = pixel < height * width
    at_x, at_y, mask, slope_x, slope_y = _places(
        raw, item, pixel, wanted, height, width, raw_b, raw_c, raw_y, raw_x, EXACT_GRID, DOUBLE
    )
    left = tl.floor(at_x)
    top = tl.floor(at_y)
    part_x = at_x - left
    part_y = at_y - top
    line = (pixel // width)[:, None]
    place = (pixel % width)[:, None]
    zeros = _exact(tl.zeros((PIXELS,), dtype=tl.float32), DOUBLE)
    d_mask = zeros
    d_at_x = zeros
    d_at_y = zeros
    for start in range(0, channels, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        real = channel < channels
        within = wanted[:, None] & real[None, :]
        source = item * warped_b + channel[None, :] * warped_c + line * warped_y + place * warped_x
        d_product = _exact(tl.load(d_warped + source, mask=within, other=0.0), DOUBLE)
        sample = _exact(tl.zeros((PIXELS, CHANNELS), dtype=tl.float32), DOUBLE)
        by_x = sample
        by_y = sample
        plane = feature + item * feature_b + channel[None, :] * feature_c
        for row in tl.static_range(2):
            y_at = top.to(tl.int32) + row
            weight_y = part_y if row == 1 else 1.0 - part_y
            for column in tl.static_range(2):
                x_at = left.to(tl.int32) + column
                weight_x = part_x if column == 1 else 1.0 - part_x
                inside = wanted & (y_at >= 0) & (y_at < height) & (x_at >= 0) & (x_at < width)
                places = y_at * feature_y + x_at * feature_x
                value = tl.load(plane + places[:, None], mask=inside[:, None] & real[None, :], other=0.0)
                value = _exact(value, DOUBLE)
                sample += value * (weight_x * weight_y)[:, None]
                by_x += value * (weight_y if column == 1 else -weight_y)[:, None]
                by_y += value * (weight_x if row == 1 else -weight_x)[:, None]
        source = x + item * x_b + channel[None, :] * x_c + line * x_y + place * x_x
        own = _exact(tl.load(source, mask=within, other=0.0), DOUBLE)
        source = item * rest_b + channel[None, :] * rest_c + line * rest_y + place * rest_x
        given = _exact(tl.load(d_rest + source, mask=within, other=0.0), DOUBLE)
        kept = 1.0 - mask[:, None]
        if RELEASED:
            d_own = given * (1.0 - sample * mask[:, None] - own * kept)
            given = -own * given
            d_own += given * kept
        else:
            d_own = given * kept
        d_mask -= tl.sum(own * given, axis=1)
        d_product += given
        target = item * sum_b + channel[None, :] * sum_c + line * sum_y + place * sum_x
        tl.store(d_x + target, d_own.to(d_x.dtype.element_ty), mask=within)
        d_mask += tl.sum(sample * d_product, axis=1)
        d_sample = d_product * mask[:, None]
        d_at_x += tl.sum(d_sample * by_x, axis=1)
        d_at_y += tl.sum(d_sample * by_y, axis=1)
        sums = d_feature + item * sum_b + channel[None, :] * sum_c
        for row in tl.static_range(2):
            y_at = top.to(tl.int32) + row
            weight_y = part_y if row == 1 else 1.0 - part_y
            for column in tl.static_range(2):
                x_at = left.to(tl.int32) + column
                weight = weight_y * (part_x if column == 1 else 1.0 - part_x)
                inside = wanted & (y_at >= 0) & (y_at < height) & (x_at >= 0) & (x_at < width)
                places = y_at * sum_y + x_at * sum_x
                tl.atomic_add(
                    sums + places[:, None],
                    d_sample * weight[:, None],
                    mask=inside[:, None] & real[None, :],
                    sem="relaxed",
                )
    target = d_raw + item * d_raw_b + pixel
    tl.store(target, d_at_x * slope_x, mask=wanted)
    tl.store(target + d_raw_c, d_at_y * slope_y, mask=wanted)
    tl.store(target + 2 * d_raw_c, d_mask * mask * (1.0 - mask), mask=wanted)
