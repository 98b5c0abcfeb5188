"""Inputs for the benchmark of `kernels.fir_resample`: the two places of it in a frame."""

from functools import partial

import torch

from benchmarks.ops.measuring import OpCase, triton_here
from kernels.fir_resample import fir_resample


def cases(device: torch.device, *, quick: bool) -> list[OpCase]:
    """The blur after a doubling convolution with all that follows, and the doubling of colours."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    taps = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 16
    levels = [(1, 512, 16), (1, 64, 256), (16, 64, 256)]
    found = []
    for batch, channels, side in levels[:1] if quick else levels:
        x = torch.randn(batch, channels, side + 1, side + 1, device=device).to(dtype)
        x = x.to(memory_format=torch.channels_last)
        kernel = taps.repeat(channels, 1, 1, 1).to(device, dtype)
        scale, bias = torch.randn(batch, channels, device=device).to(dtype), kernel[:, 0, 0, 0].contiguous()
        found.append(
            OpCase(
                operation="fir_resample",
                name=f"blur, activate {batch} x {channels} x {side}^2",
                call=partial(fir_resample, x, kernel, padding=1, scale_BC=scale, bias_C=bias, activate=True),
                implementations=triton_here(device),
                bytes_moved=2 * x.numel() * x.element_size(),
                flop=x.numel() * 35,
            )
        )
        colours = kernel[:3].contiguous()
        below = torch.randn(batch, 3, side // 2, side // 2, device=device).to(dtype)
        added = torch.randn(batch, 3, side, side, device=device).to(dtype)
        found.append(
            OpCase(
                operation="fir_resample",
                name=f"double, add {batch} x 3 x {side}^2",
                call=partial(fir_resample, below, colours, up=2, padding=1, added_BCHW=added),
                implementations=triton_here(device),
                bytes_moved=(below.numel() + 2 * added.numel()) * added.element_size(),
                flop=added.numel() * 9,
            )
        )
    return found
