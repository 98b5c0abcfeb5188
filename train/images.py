"""Images as networks take them, and back. Shape suffixes: B rows, H and W pixels."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_network(images: Tensor) -> Tensor:
    """Images uint8 (B, H, W, 3) as float32 (B, 3, H, W) in [-1, 1], on the same device."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_bytes(rgb_B3HW: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] as uint8 (B, H, W, 3), on the same device; what lies outside is clipped."""
    bytes_B3HW = (rgb_B3HW.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return bytes_B3HW.permute(0, 2, 3, 1).contiguous()


def shrink(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square image (H, H, 3) at ``size`` px, each the mean of what it covers."""
    if rgb.shape[0] == size:
        return rgb
    return np.asarray(cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
