"""Backward warp: every output pixel is fetched from a place of the input that a grid names.

    output[b, c, y, x] = image[b, c] at (grid[b, y, x, 0], grid[b, y, x, 1])

The grid holds pixel coordinates, x then y, with pixel centres at integers; places outside the image take the nearest
border pixel. This is ``torch.nn.functional.grid_sample`` with ``align_corners=True`` and ``padding_mode="border"``, the
grid scaled from [-1, 1] to pixels. The bicubic kernel has a = -0.75, as in PyTorch and OpenCV.
"""

from typing import Literal, get_args

import torch

from kernels.backward_warp.reference import backward_warp_reference
from kernels.choice import choose, require
from kernels.errors import ImplementationUnavailable

__all__ = ["Implementation", "Mode", "backward_warp"]

Implementation = Literal["auto", "reference", "opencv", "triton"]
Mode = Literal["bilinear", "bicubic"]


def backward_warp(
    image: torch.Tensor, grid: torch.Tensor, impl: Implementation = "auto", *, mode: Mode = "bilinear"
) -> torch.Tensor:
    """Warp ``image`` by ``grid``.

    Args:
        image: (B, C, H, W) uint8, float16, bfloat16 or float32; "reference" takes float64 too.
            Channels-last memory is taken as it is by "opencv".
        grid: (B, H', W', 2) floating point, pixel coordinates (x, y) into the image.
        impl: "reference" (plain PyTorch, differentiable), "opencv" (CPU, uint8 and float32, coordinates rounded to
            1/32 px), "triton" (CUDA, all types), or "auto": what `kernels.choice` says; it never leaves the device.
        mode: "bilinear" or "bicubic".

    Returns:
        (B, C, H', W') of the type of ``image``; uint8 is rounded and clipped.

    Raises:
        ValueError: shapes or types do not fit.
        ImplementationUnavailable: ``impl`` cannot run here or with these inputs.
    """
    _check(image, grid, mode)
    if impl not in get_args(Implementation):
        raise ValueError(f"impl must be one of {get_args(Implementation)}, not {impl!r}")
    chosen = _choose(image, grid) if impl == "auto" else impl
    if chosen == "reference":
        return backward_warp_reference(image, grid, mode)
    require("backward_warp", chosen, image.device)
    if chosen == "opencv":
        from kernels.backward_warp.opencv import backward_warp_opencv

        return backward_warp_opencv(image, grid, mode)
    if image.dtype == torch.float64:
        raise ImplementationUnavailable("backward_warp impl='triton' computes in float32, not float64")
    from kernels.backward_warp.triton import backward_warp_triton

    return backward_warp_triton(image, grid, mode)


def _choose(image: torch.Tensor, grid: torch.Tensor) -> str:
    if image.requires_grad or grid.requires_grad:
        return "reference"
    fast: list[str] = []
    if image.dtype != torch.float64:
        fast.append("triton")
    # OpenCV takes four channels at a time; feature maps are faster in PyTorch.
    if image.dtype in (torch.uint8, torch.float32) and image.shape[1] <= 4:
        fast.append("opencv")
    return choose("backward_warp", image, tuple(fast))


def _check(image: torch.Tensor, grid: torch.Tensor, mode: str) -> None:
    if image.dim() != 4 or grid.dim() != 4 or grid.shape[-1] != 2 or image.shape[0] != grid.shape[0]:
        raise ValueError(
            "backward_warp needs image (B, C, H, W) and grid (B, H', W', 2) of the same batch, "
            f"not {tuple(image.shape)} and {tuple(grid.shape)}"
        )
    if 0 in image.shape[1:]:
        raise ValueError(f"image must not be empty, not {tuple(image.shape)}")
    if image.dtype not in (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise ValueError(f"image must be uint8 or floating point, not {image.dtype}")
    if not grid.is_floating_point():
        raise ValueError(f"grid must be floating point, not {grid.dtype}")
    if image.device != grid.device:
        raise ValueError(f"image is on {image.device} but grid on {grid.device}")
    if mode not in ("bilinear", "bicubic"):
        raise ValueError(f"mode must be 'bilinear' or 'bicubic', not {mode!r}")
