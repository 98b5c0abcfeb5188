"""What follows a modulated convolution, in plain PyTorch: the definition the other implementations are held to."""

import math

import torch
from torch import Tensor
from torch.nn import functional

SLOPE = 0.2
GAIN = math.sqrt(2.0)
EPSILON = 1e-8


def conv_epilogue_reference(x_BCHW: Tensor, bias_C: Tensor, scale_BC: Tensor | None) -> Tensor:
    """sqrt(2) leaky_relu(x scale + bias).

    The gain is applied to the factors, where it costs nothing: leaky_relu(a x) = a leaky_relu(x) for a > 0.
    """
    bias_1C11 = (bias_C * GAIN)[None, :, None, None]
    if scale_BC is None:
        return functional.leaky_relu_(torch.add(bias_1C11, x_BCHW, alpha=GAIN), SLOPE)
    return functional.leaky_relu_(torch.addcmul(bias_1C11, x_BCHW, (scale_BC * GAIN)[:, :, None, None]), SLOPE)


def demodulation_reference(modulation_BI: Tensor, squared_OI: Tensor) -> Tensor:
    """(sum_i modulation^2 squared + 1e-8)^(-1/2), summed in float32 at least: the squares are small."""
    exact = torch.promote_types(modulation_BI.dtype, torch.float32)
    energy_BO = functional.linear(modulation_BI.to(exact).square(), squared_OI.to(exact))
    return torch.rsqrt(energy_BO + EPSILON).to(modulation_BI.dtype)
