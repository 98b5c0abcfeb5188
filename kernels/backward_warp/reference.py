"""Backward warp in plain PyTorch: the definition the other implementations are held to."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["backward_warp_reference"]


def backward_warp_reference(image: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """``grid_sample`` with align_corners=True and border padding, on a grid in pixels; computed in float32."""
    height, width = image.shape[-2:]
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=torch.float32, device=grid.device)
    normalised = grid.float() * (2.0 / size) - 1.0
    sampled = functional.grid_sample(
        image.float(), normalised, mode=mode, padding_mode="border", align_corners=True
    )
    if image.dtype == torch.uint8:
        return sampled.round().clamp(0, 255).to(torch.uint8)
    return sampled.to(image.dtype)
