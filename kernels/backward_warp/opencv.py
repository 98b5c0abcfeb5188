"""Backward warp by ``cv2.remap``: the fastest on a CPU, without gradients, coordinates rounded to 1/32 px."""

import cv2
import numpy as np
import torch

from kernels.errors import ImplementationUnavailable

_MAX_SIDE = 32767


def backward_warp_opencv(image: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """Warp on the CPU; the result is channels-last in memory."""
    if image.device.type != "cpu":
        raise ImplementationUnavailable(f"backward_warp impl='opencv' runs on the CPU, not on {image.device}")
    if image.dtype not in (torch.uint8, torch.float32):
        raise ImplementationUnavailable(f"backward_warp impl='opencv' takes uint8 and float32, not {image.dtype}")
    if max(*image.shape[-2:], *grid.shape[1:3]) > _MAX_SIDE:
        raise ImplementationUnavailable(f"backward_warp impl='opencv' takes sides up to {_MAX_SIDE} px")
    batch, channels, height, width = image.shape
    rows, columns = grid.shape[1:3]
    images = image.detach().permute(0, 2, 3, 1).contiguous().numpy()
    places = grid.detach().float().contiguous().numpy()
    # Farther out only the border counts; bounding keeps cv2's 16-bit coordinates from wrapping.
    if places.size and not (places.min() >= -3.0 and places.max() <= min(width, height) + 2.0):
        places = np.clip(places, -3.0, np.array([width + 2, height + 2], dtype=np.float32))
    result = np.empty((batch, rows, columns, channels), dtype=images.dtype)
    if result.size == 0:
        return torch.from_numpy(result).permute(0, 3, 1, 2)
    interpolation = cv2.INTER_CUBIC if mode == "bicubic" else cv2.INTER_LINEAR
    for item in range(batch):
        for first in range(0, channels, 4):
            part = np.ascontiguousarray(images[item, ..., first : first + 4])
            warped = cv2.remap(part, places[item], None, interpolation, borderMode=cv2.BORDER_REPLICATE)
            result[item, ..., first : first + 4] = warped.reshape(rows, columns, -1)
    return torch.from_numpy(result).permute(0, 3, 1, 2)
