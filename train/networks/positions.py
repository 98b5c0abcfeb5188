"""Sinusoidal positions (Vaswani et al. 2017)."""

import math

import torch
from torch import Tensor


def sinusoids(length: int, width: int) -> Tensor:
    """float32 (length, width), sines then cosines of wavelengths from 2 pi to 20000 pi; ``width`` is even."""
    rate = torch.exp(torch.arange(width // 2) * (-math.log(10000.0) / max(width // 2 - 1, 1)))
    angle = torch.arange(length)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)
