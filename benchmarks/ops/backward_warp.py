"""Inputs for the benchmark of `kernels.backward_warp`: the geometric animator's frame, then feature maps."""

from functools import partial

import torch

from benchmarks.ops.measuring import OpCase, triton_here
from kernels.backward_warp import Mode, backward_warp

_CASES: list[tuple[str, tuple[int, int, int], torch.dtype, Mode]] = [
    ("portrait 256 uint8", (1, 3, 256), torch.uint8, "bicubic"),
    ("portrait 256 float32", (1, 3, 256), torch.float32, "bilinear"),
    ("features 64 float32", (1, 256, 64), torch.float32, "bilinear"),
    ("features 64 float16", (16, 256, 64), torch.float16, "bilinear"),
]


def cases(device: torch.device, *, quick: bool) -> list[OpCase]:
    """Those that this device takes."""
    found = []
    for name, (batch, channels, side), dtype, mode in _CASES[:2] if quick else _CASES:
        image = (torch.rand(batch, channels, side, side, device=device) * 255).to(dtype)
        if device.type == "cpu":
            image = image.to(memory_format=torch.channels_last)
        axis = torch.arange(side, dtype=torch.float32, device=device)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        grid = torch.stack([columns + 3 * torch.sin(rows / 9), rows + 2 * torch.cos(columns / 7)], -1)
        grid = grid.expand(batch, -1, -1, -1).contiguous()
        opencv = ("opencv",) if device.type == "cpu" and dtype in (torch.uint8, torch.float32) else ()
        found.append(
            OpCase(
                operation="backward_warp",
                name=name,
                call=partial(backward_warp, image, grid, mode=mode),
                implementations=opencv + triton_here(device),
                bytes_moved=2 * image.numel() * image.element_size() + grid.numel() * grid.element_size(),
                flop=image.numel() * (32 if mode == "bicubic" else 8),
            )
        )
    return found
