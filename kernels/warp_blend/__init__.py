"""Flow warp and mask blend: the portrait's features, fetched by a flow, laid over what a level made itself.

    place    = identity + tanh(raw[:, :2])                  x, y in [-1, 1] of the image
    m        = sigmoid(raw[:, 2])
    warped   = sample(feature, place) m                     bilinear, zeros outside
    blended  = warped + x (1 - m)                           Eq. of the decoder's levels (Fig. 2 of the paper)
    released = x (1 - blended)                              what the released weights were trained with

Apart, these are a dozen passes over the maps, in float32 where places are; together they are one read of each input and
one write of each output. `kernels.backward_warp`, the geometric animator's, takes places in pixels and has no mask.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from kernels.choice import choose, require
from kernels.errors import ImplementationUnavailable
from kernels.tiles import row_fits_32_bits
from kernels.warp_blend.reference import flow_warp_reference, warp_blend_reference

__all__ = ["Implementation", "Rest", "flow_warp_reference", "warp_blend"]

Implementation = Literal["auto", "reference", "triton"]
Rest = Literal["blended", "released"]
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def warp_blend(
    feature_BCHW: Tensor,
    raw_B3HW: Tensor,
    x_BCHW: Tensor,
    *,
    rest: Rest = "blended",
    exact_grid: bool = False,
    impl: Implementation = "auto",
) -> tuple[Tensor, Tensor]:
    """Warped and masked features, and what ``rest`` names.

    Args:
        feature_BCHW: floating point (B, C, H, W), any strides; what is fetched from.
        raw_B3HW: floating point; flow x, flow y and mask before their activations.
        x_BCHW: of the shape and type of ``feature_BCHW``.
        exact_grid: a flow of zero fetches each pixel from itself; else the grid spans the image's edges, half a pixel
            outside at its border.
        impl: "reference" or "triton" (CUDA), both differentiable; "auto" as `kernels.choice` says.

    Raises:
        ValueError: shapes, types or devices do not fit.
        ImplementationUnavailable: ``impl`` cannot run here.
    """
    if impl not in get_args(Implementation):
        raise ValueError(f"impl must be one of {get_args(Implementation)}, not {impl!r}")
    _check(feature_BCHW, raw_B3HW, x_BCHW, rest)
    given = (feature_BCHW, raw_B3HW, x_BCHW)
    if impl == "auto":
        fast = choose("warp_blend", feature_BCHW, ("triton",)) == "triton" and row_fits_32_bits(*given)
        impl = "triton" if fast else "reference"
    if impl == "reference":
        return warp_blend_reference(feature_BCHW, raw_B3HW, x_BCHW, rest, exact_grid)
    require("warp_blend", impl, feature_BCHW.device)
    if not row_fits_32_bits(*given):
        raise ImplementationUnavailable("warp_blend impl='triton' takes fewer than 2**31 places a row of the batch")
    from kernels.warp_blend.triton import warp_blend_triton

    return warp_blend_triton(feature_BCHW, raw_B3HW, x_BCHW, rest, exact_grid)


def _check(feature_BCHW: Tensor, raw_B3HW: Tensor, x_BCHW: Tensor, rest: str) -> None:
    if rest not in get_args(Rest):
        raise ValueError(f"rest must be one of {get_args(Rest)}, not {rest!r}")
    shape = feature_BCHW.shape
    if feature_BCHW.ndim != 4 or raw_B3HW.shape != (shape[0], 3, *shape[2:]):
        raise ValueError(f"needs features (B, C, H, W) and raw (B, 3, H, W), not {shape} and {raw_B3HW.shape}")
    if feature_BCHW.dtype not in _TYPES or raw_B3HW.dtype not in _TYPES:
        raise ValueError(f"inputs must be floating point, not {feature_BCHW.dtype} and {raw_B3HW.dtype}")
    if raw_B3HW.device != feature_BCHW.device:
        raise ValueError(f"features are on {feature_BCHW.device} but raw on {raw_B3HW.device}")
    if x_BCHW.shape != shape or x_BCHW.device != feature_BCHW.device:
        raise ValueError(f"x must be {tuple(shape)} on {feature_BCHW.device}, as the features are")
