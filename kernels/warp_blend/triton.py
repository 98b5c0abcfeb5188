"""Flow warp and mask blend with Triton kernels, forward and backward, behind one autograd function.

Imported only where Triton is installed; compiled at the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels.tiles import tile_of
from kernels.warp_blend.triton_kernels import RESTS, backward_kernel, forward_kernel

_FORWARD, _BACKWARD = 512, 256


def warp_blend_triton(
    feature_BCHW: Tensor, raw_B3HW: Tensor, x_BCHW: Tensor | None, rest: str, exact_grid: bool
) -> tuple[Tensor, Tensor | None]:
    """As `kernels.warp_blend.warp_blend`; results have the features' memory format. Gradients once, not twice."""
    if x_BCHW is None:
        warped_BCHW, _ = _apply(feature_BCHW, raw_B3HW, feature_BCHW, "none", exact_grid)
        return warped_BCHW, None
    warped_BCHW, rest_BCHW = _apply(feature_BCHW, raw_B3HW, x_BCHW, rest, exact_grid)
    return warped_BCHW, rest_BCHW


class _WarpBlend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, feature_BCHW: Tensor, raw_B3HW: Tensor, x_BCHW: Tensor, rest: str, exact_grid: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(feature_BCHW, raw_B3HW, x_BCHW)
        ctx.rest, ctx.exact_grid = rest, exact_grid
        last, pixels, channels = tile_of(feature_BCHW, _FORWARD)
        kind = torch.promote_types(feature_BCHW.dtype, raw_B3HW.dtype)
        warped_BCHW = _empty(feature_BCHW, kind, last)
        kind = torch.promote_types(kind, x_BCHW.dtype)
        rest_BCHW = warped_BCHW if rest == "none" else _empty(feature_BCHW, kind, last)
        if warped_BCHW.numel():
            batch, depth, height, width = feature_BCHW.shape
            channel_blocks = triton.cdiv(depth, channels)
            forward_kernel[(triton.cdiv(height * width, pixels) * channel_blocks, batch)](
                feature_BCHW, raw_B3HW, x_BCHW, warped_BCHW, rest_BCHW,
                depth, height, width, channel_blocks,
                *feature_BCHW.stride(), *raw_B3HW.stride(), *x_BCHW.stride(), *warped_BCHW.stride(),
                REST=RESTS[rest], EXACT_GRID=exact_grid, DOUBLE=_double(feature_BCHW, raw_B3HW, x_BCHW),
                PIXELS=pixels, CHANNELS=channels,
            )  # fmt: skip
        if rest == "none":
            rest_BCHW = warped_BCHW.new_empty(0)
            ctx.mark_non_differentiable(rest_BCHW)
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
        if ctx.rest == "none":
            d_rest_BCHW = d_warped_BCHW
        if d_feature.numel():
            batch, depth, height, width = feature_BCHW.shape
            backward_kernel[(triton.cdiv(height * width, pixels), batch)](
                feature_BCHW, raw_B3HW, x_BCHW, d_warped_BCHW, d_rest_BCHW, d_feature, d_raw, d_x,
                depth, height, width,
                *feature_BCHW.stride(), *raw_B3HW.stride(), *x_BCHW.stride(),
                *d_warped_BCHW.stride(), *d_rest_BCHW.stride(), *d_feature.stride(), *d_raw.stride()[:2],
                REST=RESTS[ctx.rest], EXACT_GRID=ctx.exact_grid, DOUBLE=double, PIXELS=pixels, CHANNELS=channels,
            )  # fmt: skip
        d_x_BCHW = None if ctx.rest == "none" or not ctx.needs_input_grad[2] else d_x
        return d_feature.to(feature_BCHW.dtype), d_raw.to(raw_B3HW.dtype), d_x_BCHW, None, None


def _empty(like_BCHW: Tensor, dtype: torch.dtype, last: bool) -> Tensor:
    format_ = torch.channels_last if last else torch.contiguous_format
    return torch.empty(like_BCHW.shape, dtype=dtype, device=like_BCHW.device, memory_format=format_)


def _double(*tensors: Tensor) -> bool:
    return any(tensor.dtype == torch.float64 for tensor in tensors)


_apply: Callable[..., tuple[Tensor, Tensor]] = _WarpBlend.apply
