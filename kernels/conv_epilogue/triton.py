"""Demodulation and what follows it as Triton kernels; imported only where Triton is installed."""

import torch
import triton
import triton.language as tl

from kernels.conv_epilogue.reference import EPSILON, GAIN, SLOPE

_BLOCK = 1024
_OUTPUTS, _INPUTS = 16, 128


def conv_epilogue_triton(x_BCHW: torch.Tensor, bias_C: torch.Tensor, scale_BC: torch.Tensor | None) -> torch.Tensor:
    """One read and one write, in the order of memory; other than dense strides are made contiguous first."""
    last = not x_BCHW.is_contiguous() and x_BCHW.is_contiguous(memory_format=torch.channels_last)
    if not last:
        x_BCHW = x_BCHW.contiguous()
    output = torch.empty_like(x_BCHW)
    if output.numel() == 0:
        return output
    _, channels, height, width = x_BCHW.shape
    scale, strides = (x_BCHW, (0, 0)) if scale_BC is None else (scale_BC, scale_BC.stride())
    _activate[(-(-output.numel() // _BLOCK),)](
        x_BCHW, bias_C, scale, output,
        output.numel(), channels, height * width, bias_C.stride(0), *strides,
        SLOPE_OF=SLOPE, GAIN_OF=GAIN, SCALE=scale_BC is not None, LAST=last, BLOCK=_BLOCK,
    )  # fmt: skip
    return output


def demodulation_triton(modulation_BI: torch.Tensor, squared_OI: torch.Tensor) -> torch.Tensor:
    """Squares, sum and root in one launch."""
    rows, outputs = len(modulation_BI), len(squared_OI)
    scale_BO = modulation_BI.new_empty((rows, outputs))
    if scale_BO.numel() == 0:
        return scale_BO
    _demodulate[(-(-outputs // _OUTPUTS), rows)](
        modulation_BI, squared_OI, scale_BO,
        outputs, modulation_BI.shape[1], *modulation_BI.stride(), *squared_OI.stride(),
        EPSILON_OF=EPSILON, OUTPUTS=_OUTPUTS, INPUTS=_INPUTS,
    )  # fmt: skip
    return scale_BO


@triton.jit  # type: ignore[untyped-decorator]
def _activate(  # type: ignore[no-untyped-def]
    x, bias, scale, output, count, channels, pixels, bias_c, scale_b, scale_c,
    SLOPE_OF: tl.constexpr, GAIN_OF: tl.constexpr, SCALE: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    within = place < count
    row = place // (channels * pixels)
    rest = (place - row * channels * pixels).to(tl.int32)
    channel = rest % channels if LAST else rest // pixels
    value = tl.load(x + place, mask=within, other=0.0).to(tl.float32)
    if SCALE:
        value *= tl.load(scale + row * scale_b + channel * scale_c, mask=within, other=0.0).to(tl.float32)
    value += tl.load(bias + channel * bias_c, mask=within, other=0.0).to(tl.float32)
    value = tl.where(value > 0, value, value * SLOPE_OF) * GAIN_OF
    tl.store(output + place, value.to(output.dtype.element_ty), mask=within)


@triton.jit  # type: ignore[untyped-decorator]
def _demodulate(  # type: ignore[no-untyped-def]
    modulation, squared, scale, outputs, inputs, modulation_b, modulation_i, squared_o, squared_i,
    EPSILON_OF: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    output = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    row = tl.program_id(1).to(tl.int64)
    total = tl.zeros((OUTPUTS,), dtype=tl.float32)
    for start in range(0, inputs, INPUTS):
        at = start + tl.arange(0, INPUTS)
        factor = tl.load(modulation + row * modulation_b + at * modulation_i, mask=at < inputs, other=0.0)
        factor = factor.to(tl.float32)
        within = (output[:, None] < outputs) & (at[None, :] < inputs)
        places = output[:, None].to(tl.int64) * squared_o + at[None, :] * squared_i
        weight = tl.load(squared + places, mask=within, other=0.0).to(tl.float32)
        total += tl.sum(weight * (factor * factor)[None, :], axis=1)
    result = 1.0 / tl.sqrt(total + EPSILON_OF)
    tl.store(scale + row * outputs + output, result.to(scale.dtype.element_ty), mask=output < outputs)
