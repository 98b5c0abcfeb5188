"""Inputs for the benchmark of `kernels.fir_resample`: the two places of it in a frame."""

from __future__ import annotations

import torch

from benchmarks.ops.measuring import OpCase
from kernels.choice import installed, triton_runs_on
from kernels.fir_resample import fir_resample


def cases(device: torch.device, *, quick: bool) -> list[OpCase]:
    """The blur after a doubling convolution with all that follows, and the doubling of colours."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    impls = ("triton",) if installed("triton") and triton_runs_on(device) else ()
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
                call=lambda impl, x=x, k=kernel, s=scale, b=bias: fir_resample(
                    x, k, padding=1, scale_BC=s, bias_C=b, activate=True, impl=impl
                ),
                implementations=impls,
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
                call=lambda impl, x=below, k=colours, a=added: fir_resample(
                    x, k, up=2, padding=1, added_BCHW=a, impl=impl
                ),
                implementations=impls,
                bytes_moved=(below.numel() + 2 * added.numel()) * added.element_size(),
                flop=added.numel() * 9,
            )
        )
    return found
