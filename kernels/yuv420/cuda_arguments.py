"""What the CUDA kernel is launched with; needs neither a card nor CuPy."""

from dataclasses import dataclass

import numpy as np
import torch

from kernels.yuv420.cuda_source import COLUMNS, ROWS
from kernels.yuv420.reference import COEFFICIENTS, LabelPatch, Layout, Matrix

_THREADS_X, _THREADS_Y = 32, 4
_ELEMENTS = {torch.uint8: 0, torch.float16: 1, torch.bfloat16: 2, torch.float32: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch of the kernel.

    Attributes:
        defines: what the source wants defined.
        grid, block: in blocks and in threads.
        arguments: as the source takes them, of the types that it names; addresses as uint64, 0 for what is absent.
    """

    defines: tuple[str, ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[np.generic, ...]


def launch_of(
    image_B3HW: torch.Tensor,
    layout: Layout,
    matrix: Matrix,
    label: LabelPatch | None,
    pattern_BHW: torch.Tensor | None,
    out: torch.Tensor,
) -> Launch:
    """The launch that fills ``out``; the tensors must live until it is done."""
    batch, _, height, width = image_B3HW.shape
    keep = add = pattern = 0
    badge: tuple[int, ...] = (0, 0, 0, 0)
    badge_strides: tuple[int, ...] = (0, 0, 0, 0, 0)
    pattern_strides: tuple[int, ...] = (0, 0, 0)
    if label is not None:
        keep, add = label.keep_HW.data_ptr(), label.add_3HW.data_ptr()
        badge = (label.top_px, label.left_px, label.keep_HW.shape[0], label.keep_HW.shape[1])
        badge_strides = (*label.keep_HW.stride(), *label.add_3HW.stride())
    if pattern_BHW is not None:
        pattern, pattern_strides = pattern_BHW.data_ptr(), pattern_BHW.stride()
    wide = int(width % COLUMNS == 0 and out.data_ptr() % COLUMNS == 0)
    return Launch(
        defines=(
            f"-DELEMENT={_ELEMENTS[image_B3HW.dtype]}",
            f"-DLABEL={int(label is not None)}",
            f"-DMARK={int(pattern_BHW is not None)}",
            f"-DNV12={int(layout == 'nv12')}",
        ),
        grid=(-(-width // (COLUMNS * _THREADS_X)), -(-height // (ROWS * _THREADS_Y)), batch),
        block=(_THREADS_X, _THREADS_Y, 1),
        arguments=(
            *map(np.uint64, (image_B3HW.data_ptr(), keep, add, pattern, out.data_ptr())),
            *map(np.int32, (height, width, *badge, wide)),
            *map(np.int64, (*image_B3HW.stride(), *badge_strides, *pattern_strides)),
            *(np.float32(weight / (1 << 14)) for row in COEFFICIENTS[matrix] for weight in row),
        ),
    )
