"""Inputs for the benchmark of `kernels.yuv420`: finished frames of the animator, on the device and to the host."""

from functools import partial

import torch

from benchmarks.ops.measuring import OpCase, triton_here
from kernels.choice import installed
from kernels.yuv420 import LabelPatch, yuv420


def cases(device: torch.device, *, quick: bool) -> list[OpCase]:
    """One frame and sixteen, with label and mark; on CUDA also straight into pinned memory, the copy included."""
    on_cuda = device.type == "cuda"
    dtype = torch.float16 if on_cuda else torch.float32
    impls = triton_here(device) + (("cupy",) if installed("cupy") and on_cuda else ())
    found = []
    for batch, side in ((1, 256),) if quick else ((1, 256), (16, 256)):
        image = (torch.rand(batch, 3, side, side, device=device) * 2 - 1).to(dtype)
        pattern = torch.randn(batch, side, side, device=device)
        label = LabelPatch(
            keep_HW=torch.full((19, 85), 0.5, device=device),
            add_3HW=torch.full((3, 19, 85), 50.5, device=device),
            top_px=side - 25,
            left_px=5,
        )
        shape = (batch, side * 3 // 2, side)
        targets = {"device": torch.empty(shape, dtype=torch.uint8, device=device)}
        if on_cuda:
            targets["pinned host"] = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        for where, out in targets.items():
            found.append(
                OpCase(
                    operation="yuv420",
                    name=f"{batch} x {side}^2 I420 to the {where}",
                    call=partial(yuv420, image, label=label, pattern_BHW=pattern, out=out),
                    implementations=impls,
                    bytes_moved=image.numel() * image.element_size() + pattern.numel() * 4 + out.numel(),
                    flop=image.numel() * 12,
                )
            )
    return found
