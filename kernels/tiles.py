"""Tiles of pixels and channels that a program of a Triton kernel makes at a time."""

import torch


def tile_of(x_BCHW: torch.Tensor, elements: int) -> tuple[bool, int, int]:
    """Whether channels lie next to each other, and how many pixels and channels a tile has, powers of two.

    A tile is long in the direction of memory, so that neighbouring threads read neighbouring places. ``elements``: of a
    tile; four to a thread keep the addresses of all taps in registers.
    """
    channels = x_BCHW.shape[1]
    last = not x_BCHW.is_contiguous() and x_BCHW.is_contiguous(memory_format=torch.channels_last)
    block = min(64 if last else 4, 1 << max(channels - 1, 0).bit_length())
    return last, elements // max(block, 4), block


def row_fits_32_bits(*tensors: torch.Tensor) -> bool:
    """Whether places within one row of the batch are 32-bit numbers; rows themselves are found with 64 bits."""
    return all(
        sum((size - 1) * stride for size, stride in zip(tensor.shape[1:], tensor.stride()[1:], strict=True)) < 2**31
        for tensor in tensors
    )
