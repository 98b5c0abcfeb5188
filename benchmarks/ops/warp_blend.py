"""Inputs for the benchmark of `kernels.warp_blend`: levels of the paper's decoder, one frame and sixteen."""

from functools import partial

import torch

from benchmarks.ops.measuring import OpCase, triton_here
from kernels.warp_blend import warp_blend


def cases(device: torch.device, *, quick: bool) -> list[OpCase]:
    """Channels-last half types on CUDA, as the graph backend has them; float32 on the CPU."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    levels = [(1, 512, 8), (1, 256, 64), (1, 64, 256), (16, 64, 256)]
    found = []
    for batch, channels, side in levels[:1] if quick else levels:
        feature, x = (
            torch.randn(batch, channels, side, side, device=device).to(dtype).to(memory_format=torch.channels_last)
            for _ in range(2)
        )
        raw = torch.randn(batch, 3, side, side, device=device).to(dtype) / 8
        for rest in ("blended", "released"):
            found.append(
                OpCase(
                    operation="warp_blend",
                    name=f"{batch} x {channels} x {side}^2 {rest}",
                    call=partial(warp_blend, feature, raw, x, rest=rest),
                    implementations=triton_here(device),
                    bytes_moved=(4 * feature.numel() + raw.numel()) * feature.element_size(),
                    flop=feature.numel() * 12,
                )
            )
    return found
