"""What follows a modulated convolution whose weights all rows share: demodulation, bias, activation.

    d[b, o] = (sum_i s[b, i]^2 w2[o, i] + 1e-8)^(-1/2)             `demodulation`, w2: weights squared, over taps
    y[b, o] = sqrt(2) leaky_relu(x[b, o] d[b, o] + bias[o], 0.2)   `conv_epilogue`, one read and one write

The slope and the gain, which keeps the variance of what it is given, are those of StyleGAN2 (Karras et al. 2020).
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from kernels.choice import choose, refuse_gradients, require
from kernels.conv_epilogue.reference import (
    EPSILON,
    GAIN,
    SLOPE,
    conv_epilogue_reference,
    demodulation_reference,
)

__all__ = ["EPSILON", "GAIN", "SLOPE", "Implementation", "conv_epilogue", "demodulation"]

Implementation = Literal["auto", "reference", "triton"]
_TRITON_TYPES = (torch.float16, torch.bfloat16, torch.float32)


def conv_epilogue(
    x_BCHW: Tensor, bias_C: Tensor, scale_BC: Tensor | None = None, *, impl: Implementation = "auto"
) -> Tensor:
    """sqrt(2) leaky_relu(x scale + bias) with slope 0.2.

    Args:
        x_BCHW: floating point, any strides; contiguous and channels-last memory is read as it lies.
        bias_C: (C,); scale_BC: (B, C), None for 1. Both of x's device; half types are computed in float32.
        impl: "reference" (differentiable), "triton" (CUDA, no gradients), "auto" as `kernels.choice` says.

    Returns:
        (B, C, H, W) of the type and memory format of x.

    Raises:
        ValueError: shapes or types do not fit.
        ImplementationUnavailable: ``impl`` cannot run here or with these inputs.
    """
    _check_impl(impl)
    if x_BCHW.ndim != 4 or bias_C.shape != x_BCHW.shape[1:2]:
        raise ValueError(f"needs x (B, C, H, W) and bias (C,), not {tuple(x_BCHW.shape)}, {tuple(bias_C.shape)}")
    if scale_BC is not None and scale_BC.shape != x_BCHW.shape[:2]:
        raise ValueError(f"the scale must be {tuple(x_BCHW.shape[:2])}, not {tuple(scale_BC.shape)}")
    others = (bias_C,) if scale_BC is None else (bias_C, scale_BC)
    if _choose(x_BCHW, others, impl) == "reference":
        return conv_epilogue_reference(x_BCHW, bias_C, scale_BC)
    from kernels.conv_epilogue.triton import conv_epilogue_triton

    return conv_epilogue_triton(x_BCHW, bias_C, scale_BC)


def demodulation(modulation_BI: Tensor, squared_OI: Tensor, *, impl: Implementation = "auto") -> Tensor:
    """Factors (B, O) that give the outputs of a modulated convolution unit variance.

    Args:
        modulation_BI: (B, I), what the inputs were scaled by.
        squared_OI: (O, I), squares of the weights, summed over the taps.
        impl: as for `conv_epilogue`.

    Raises:
        ValueError: shapes do not fit.
        ImplementationUnavailable: ``impl`` cannot run here or with these inputs.
    """
    _check_impl(impl)
    if modulation_BI.ndim != 2 or squared_OI.ndim != 2 or modulation_BI.shape[1] != squared_OI.shape[1]:
        raise ValueError(f"needs (B, I) and (O, I), not {tuple(modulation_BI.shape)}, {tuple(squared_OI.shape)}")
    if _choose(modulation_BI, (squared_OI,), impl) == "reference":
        return demodulation_reference(modulation_BI, squared_OI)
    from kernels.conv_epilogue.triton import demodulation_triton

    return demodulation_triton(modulation_BI, squared_OI)


def _check_impl(impl: str) -> None:
    if impl not in get_args(Implementation):
        raise ValueError(f"impl must be one of {get_args(Implementation)}, not {impl!r}")


def _choose(main: Tensor, others: tuple[Tensor, ...], impl: str) -> str:
    if impl == "reference":
        return impl
    if impl == "auto" and choose("conv_epilogue", main, ("triton",)) == "reference":
        return "reference"
    has_gradients = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (main, *others))
    takes = main.dtype in _TRITON_TYPES
    if impl == "auto":
        return "triton" if takes and not has_gradients else "reference"
    require("conv_epilogue", impl, main.device)
    refuse_gradients("conv_epilogue", impl, has_gradients)
    if not takes:
        raise ValueError(f"conv_epilogue impl='triton' takes {_TRITON_TYPES}, not {main.dtype}")
    for tensor in others:
        if tensor.device != main.device:
            raise ValueError(f"inputs are on {main.device} and {tensor.device}")
    return impl
