"""Backward warp in plain PyTorch: the definition the other implementations are held to."""

import torch
from torch.nn import functional


def backward_warp_reference(image: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """``grid_sample`` with align_corners=True and border padding, on a grid in pixels; in float32 at least."""
    height, width = image.shape[-2:]
    exact = torch.float64 if image.dtype == torch.float64 else torch.float32
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=exact, device=grid.device)
    normalised = grid.to(exact) * (2.0 / size) - 1.0
    sampled = functional.grid_sample(image.to(exact), normalised, mode=mode, padding_mode="border", align_corners=True)
    if image.dtype == torch.uint8:
        return sampled.round().clamp(0, 255).to(torch.uint8)
    return sampled.to(image.dtype)
