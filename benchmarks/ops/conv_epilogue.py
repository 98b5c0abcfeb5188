"""Inputs for the benchmark of `kernels.conv_epilogue`: after convolutions of the paper's decoder."""

from functools import partial

import torch

from benchmarks.ops.measuring import OpCase, triton_here
from kernels.conv_epilogue import conv_epilogue, demodulation


def cases(device: torch.device, *, quick: bool) -> list[OpCase]:
    """Demodulation alone, and the pass that uses it."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    levels = [(1, 512, 16), (1, 64, 256), (16, 64, 256)]
    found = []
    for batch, channels, side in levels[:1] if quick else levels:
        x = torch.randn(batch, channels, side, side, device=device).to(dtype)
        x = x.to(memory_format=torch.channels_last)
        scale, bias = torch.rand(batch, channels, device=device).to(dtype), x[0, :, 0, 0].contiguous()
        squared = torch.rand(channels, channels, device=device).to(dtype)
        found += [
            OpCase(
                operation="conv_epilogue",
                name=f"scale, bias, activate {batch} x {channels} x {side}^2",
                call=partial(conv_epilogue, x, bias, scale),
                implementations=triton_here(device),
                bytes_moved=2 * x.numel() * x.element_size(),
                flop=x.numel() * 4,
            ),
            OpCase(
                operation="conv_epilogue",
                name=f"demodulation {batch} x {channels} x {channels}",
                call=partial(demodulation, scale, squared),
                implementations=triton_here(device),
                bytes_moved=squared.numel() * squared.element_size(),
                flop=3 * batch * squared.numel(),
            ),
        ]
    return found
