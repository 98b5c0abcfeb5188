"""Label, mark and YUV 4:2:0 by a CUDA C kernel that CuPy compiles at the first call of its kind."""

import functools
from typing import Any

import cupy
import torch

from kernels.yuv420.cuda_arguments import launch_of
from kernels.yuv420.cuda_source import ENTRY, SOURCE
from kernels.yuv420.reference import LabelPatch, Layout, Matrix


def yuv420_cupy(
    image_B3HW: torch.Tensor,
    layout: Layout,
    matrix: Matrix,
    label: LabelPatch | None,
    pattern_BHW: torch.Tensor | None,
    out: torch.Tensor,
) -> None:
    """Fill ``out``, which may lie in pinned memory, on the current stream of the image's device."""
    launch = launch_of(image_B3HW, layout, matrix, label, pattern_BHW, out)
    device = image_B3HW.device
    stream = torch.cuda.current_stream(device)
    with cupy.cuda.Device(device.index or 0), cupy.cuda.ExternalStream(stream.cuda_stream):
        _kernel(launch.defines)(launch.grid, launch.block, launch.arguments)


@functools.cache
def _kernel(defines: tuple[str, ...]) -> Any:
    return cupy.RawKernel(SOURCE, ENTRY, options=defines)
