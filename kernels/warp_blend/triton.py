"""Flow warp and mask blend with Triton kernels, forward and backward, behind one autograd function.

Forward, for a pixel with raw flow r, raw mask k and place p = ((tanh r + identity + 1) size - 1) / 2 along an axis:

    s = sum_q w_q(p) f_q      four neighbours q, bilinear weights         m = sigmoid k
    warped = s m              blended = s m + x (1 - m)                   released = x (1 - blended)

Backward. "released" is reduced to "blended": with h the gradient of released, that of blended is g = -x h, and x gets
h (1 - blended) beside what it gets through the blend. Then, with d = d_warped + g reaching the product s m,

    d_x   = g (1 - m)  [+ h (1 - blended)]        d_m = sum_c (s d - x g)      d_k = d_m m (1 - m)
    d_s   = d m                                   d_f_q += d_s w_q             (atomic: places share neighbours)
    d_p   = sum_c d_s sum_q f_q dw_q/dp           d_r = d_p (1 - tanh^2 r) size / 2

Imported only where Triton is installed; compiled at the first call.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.tiles import tile_of
from kernels.warp_blend.triton_kernels import backward_kernel, forward_kernel

_FORWARD, _BACKWARD = 512, 256


def warp_blend_triton(
    feature_BCHW: Tensor, raw_B3HW: Tensor, x_BCHW: Tensor, rest: str, exact_grid: bool
) -> tuple[Tensor, Tensor]:
    """As `kernels.warp_blend.warp_blend`; results have the features' memory format. Gradients once, not twice."""
    return _apply(feature_BCHW, raw_B3HW, x_BCHW, rest == "released", exact_grid)


class _WarpBlend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, feature_BCHW: Tensor, raw_B3HW: Tensor, x_BCHW: Tensor, released: bool, exact_grid: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(feature_BCHW, raw_B3HW, x_BCHW)
        ctx.released, ctx.exact_grid = released, exact_grid
        last, pixels, channels = tile_of(feature_BCHW, _FORWARD)
        kind = torch.promote_types(feature_BCHW.dtype, raw_B3HW.dtype)
        warped_BCHW = _empty(feature_BCHW, kind, last)
        kind = torch.promote_types(kind, x_BCHW.dtype)
        rest_BCHW = _empty(feature_BCHW, kind, last)
        if warped_BCHW.numel():
            batch, depth, height, width = feature_BCHW.shape
            channel_blocks = triton.cdiv(depth, channels)
            forward_kernel[(triton.cdiv(height * width, pixels) * channel_blocks, batch)](
                feature_BCHW, raw_B3HW, x_BCHW, warped_BCHW, rest_BCHW,
                depth, height, width, channel_blocks,
                *feature_BCHW.stride(), *raw_B3HW.stride(), *x_BCHW.stride(), *warped_BCHW.stride(),
                RELEASED=released, EXACT_GRID=exact_grid, DOUBLE=_double(feature_BCHW, raw_B3HW, x_BCHW),
                PIXELS=pixels, CHANNELS=channels,
            )  # fmt: skip
        return warped_BCHW, rest_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_warped_BCHW: Tensor, d_rest_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        feature_BCHW, raw_B3HW, x_BCHW = ctx.saved_tensors
        last, pixels, channels = tile_of(feature_BCHW, _BACKWARD)
        double = _double(feature_BCHW, raw_B3HW, x_BCHW)
        exact = torch.float64 if double else torch.float32
        # Many places fetch from the same one, so these are sums, and kept in the type that is summed in.
        d_feature = _empty(feature_BCHW, exact, last).zero_()
        d_raw = torch.empty(raw_B3HW.shape, dtype=exact, device=raw_B3HW.device)
        d_x = _empty(feature_BCHW, x_BCHW.dtype, last)
        if d_feature.numel():
            batch, depth, height, width = feature_BCHW.shape
            backward_kernel[(triton.cdiv(height * width, pixels), batch)](
                feature_BCHW, raw_B3HW, x_BCHW, d_warped_BCHW, d_rest_BCHW, d_feature, d_raw, d_x,
                depth, height, width,
                *feature_BCHW.stride(), *raw_B3HW.stride(), *x_BCHW.stride(),
                *d_warped_BCHW.stride(), *d_rest_BCHW.stride(), *d_feature.stride(), *d_raw.stride()[:2],
                RELEASED=ctx.released, EXACT_GRID=ctx.exact_grid, DOUBLE=double, PIXELS=pixels, CHANNELS=channels,
            )  # fmt: skip
        d_x_BCHW = d_x if ctx.needs_input_grad[2] else None
        return d_feature.to(feature_BCHW.dtype), d_raw.to(raw_B3HW.dtype), d_x_BCHW, None, None


def _empty(like_BCHW: Tensor, dtype: torch.dtype, last: bool) -> Tensor:
    format_ = torch.channels_last if last else torch.contiguous_format
    return torch.empty(like_BCHW.shape, dtype=dtype, device=like_BCHW.device, memory_format=format_)


def _double(*tensors: Tensor) -> bool:
    return any(tensor.dtype == torch.float64 for tensor in tensors)


_apply: Callable[..., tuple[Tensor, Tensor]] = _WarpBlend.apply
