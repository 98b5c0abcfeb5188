"""Blur, halving and doubling of feature maps by a 4x4 kernel of every channel by itself, with what follows in one pass.

    blur, halve   y[o] = sum_k x[down o + k - padding] kernel[k]           H -> (H + 2 padding - 4) // down + 1
    double        y[o] = sum_i x[i] kernel[o + padding - 2 i]              H -> 2H + 2 - 2 padding
    then          y = y scale + bias, sqrt(2) leaky_relu(y, 0.2), y = added + y, each only if asked for

Beyond the border lie zeros. Written out, the first two are a convolution and a transposed one (the upfirdn operation of
Karras et al. 2020 with at most one of its two rates); on a GPU their depthwise forms are slow and the rest is two more
passes over the map.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from kernels.choice import choose, refuse_gradients, require
from kernels.errors import ImplementationUnavailable
from kernels.fir_resample.reference import fir_resample_reference
from kernels.tiles import row_fits_32_bits

__all__ = ["Implementation", "fir_resample"]

Implementation = Literal["auto", "reference", "triton"]
_TRITON_TYPES = (torch.float16, torch.bfloat16, torch.float32)


def fir_resample(
    x_BCHW: Tensor,
    kernel_C144: Tensor,
    *,
    padding: int,
    up: int = 1,
    down: int = 1,
    scale_BC: Tensor | None = None,
    bias_C: Tensor | None = None,
    activate: bool = False,
    added_BCHW: Tensor | None = None,
    impl: Implementation = "auto",
) -> Tensor:
    """Resample ``x_BCHW`` and do what follows.

    Args:
        x_BCHW: floating point, any strides.
        kernel_C144: (C, 1, 4, 4), the same taps for all channels ("triton" reads the first channel's).
        padding: 0 to 3.
        up, down: 1 or 2, at most one of them 2.
        scale_BC, bias_C: None for none; half types are computed in float32 by "triton".
        activate: needs a bias.
        added_BCHW: of the shape of the result; added last.
        impl: "reference" (differentiable), "triton" (CUDA, no gradients), "auto" as `kernels.choice` says.

    Raises:
        ValueError: shapes, types or rates do not fit.
        ImplementationUnavailable: ``impl`` cannot run here or with these inputs.
    """
    if impl not in get_args(Implementation):
        raise ValueError(f"impl must be one of {get_args(Implementation)}, not {impl!r}")
    shape = _result_shape(x_BCHW, kernel_C144, padding, up, down)
    _check(shape, scale_BC, bias_C, activate, added_BCHW)
    given = [x_BCHW, kernel_C144, *(t for t in (scale_BC, bias_C, added_BCHW) if t is not None)]
    rest = (up, down, padding, scale_BC, bias_C, activate, added_BCHW)
    if _choose(given, impl) == "reference":
        return fir_resample_reference(x_BCHW, kernel_C144, *rest)
    from kernels.fir_resample.triton import fir_resample_triton

    return fir_resample_triton(x_BCHW, kernel_C144, shape, *rest)


def _choose(given: list[Tensor], impl: str) -> str:
    if impl == "reference":
        return impl
    x_BCHW = given[0]
    if impl == "auto" and choose("fir_resample", x_BCHW, ("triton",)) == "reference":
        return "reference"
    has_gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    fits = row_fits_32_bits(x_BCHW) and 4 * x_BCHW[0].numel() < 2**31
    takes = x_BCHW.dtype in _TRITON_TYPES
    if impl == "auto":
        return "triton" if takes and fits and not has_gradients else "reference"
    require("fir_resample", impl, x_BCHW.device)
    refuse_gradients("fir_resample", impl, has_gradients)
    if not fits:
        raise ImplementationUnavailable("fir_resample impl='triton' takes fewer than 2**31 places a row of the batch")
    if not takes:
        raise ValueError(f"fir_resample impl='triton' takes {_TRITON_TYPES}, not {x_BCHW.dtype}")
    if any(tensor.device != x_BCHW.device for tensor in given):
        raise ValueError(f"inputs are on {sorted({str(tensor.device) for tensor in given})}")
    return impl


def _result_shape(x_BCHW: Tensor, kernel_C144: Tensor, padding: int, up: int, down: int) -> tuple[int, int, int, int]:
    if x_BCHW.ndim != 4 or kernel_C144.shape != (x_BCHW.shape[1], 1, 4, 4):
        raise ValueError(
            f"needs x (B, C, H, W) and kernel (C, 1, 4, 4), not {tuple(x_BCHW.shape)}, {tuple(kernel_C144.shape)}"
        )
    if (up, down) not in ((1, 1), (2, 1), (1, 2)) or not 0 <= padding <= 3:
        raise ValueError(f"up {up}, down {down}, padding {padding}: see the docstring")
    batch, channels, *sides = x_BCHW.shape
    if up == 2:
        height, width = (2 * side + 2 - 2 * padding for side in sides)
    else:
        height, width = ((side + 2 * padding - 4) // down + 1 for side in sides)
    if min(height, width) < 1:
        raise ValueError(f"nothing is left of {tuple(x_BCHW.shape)} with padding {padding}")
    return batch, channels, height, width


def _check(
    shape: tuple[int, int, int, int],
    scale_BC: Tensor | None,
    bias_C: Tensor | None,
    activate: bool,
    added_BCHW: Tensor | None,
) -> None:
    if activate and bias_C is None:
        raise ValueError("the activation comes with a bias; give zeros for none")
    for name, tensor, wanted in (
        ("scale", scale_BC, shape[:2]),
        ("bias", bias_C, shape[1:2]),
        ("added", added_BCHW, shape),
    ):
        if tensor is not None and tuple(tensor.shape) != wanted:
            raise ValueError(f"{name} must be {wanted}, not {tuple(tensor.shape)}")
