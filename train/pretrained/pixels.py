"""From our images, float32 (B, 3, H, W) in [-1, 1], to what a frozen network was trained on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetPixels(nn.Module):
    """[-1, 1] to the zero mean and unit deviation of ImageNet, at ``size_px`` (None: as they come)."""

    def __init__(self, size_px: int | None = None) -> None:
        super().__init__()
        self.size_px = size_px
        # Ours, not the checkpoint's: they stay out of the state dict.
        self.register_buffer("_mean", torch.tensor(_MEAN)[None, :, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(_STD)[None, :, None, None], persistent=False)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to the same, normalised and resized; gradients pass."""
        if self.size_px is not None:
            rgb_B3HW = resized(rgb_B3HW, self.size_px)
        normalised: Tensor = (rgb_B3HW / 2 + 0.5 - self.get_buffer("_mean")) / self.get_buffer("_std")
        return normalised


def resized(rgb_BCHW: Tensor, size_px: int) -> Tensor:
    """Square images of ``size_px``, bilinear, with a low-pass where they shrink."""
    if rgb_BCHW.shape[-2:] == (size_px, size_px):
        return rgb_BCHW
    return F.interpolate(rgb_BCHW, (size_px, size_px), mode="bilinear", align_corners=False, antialias=True)
