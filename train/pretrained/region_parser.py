"""Parsing for Eq. 15 without a file of the user: a small head on the landmark network's maps.

    rgb --trunk--> maps of 128, 64, 32, 16, 8 px --1x1 conv each, upsampled, summed--> 128 px --relu, 1x1 conv--> logits

Why this and not region masks of the landmarks themselves: a mask that is drawn from 478 points can only pull those
points, and says nothing where a pixel looks wrong. The head classifies every pixel by what the trunk sees there, as
BiSeNet does, so the cross-entropy pulls on colours and edges, inside and outside the face. The trunk is MediaPipe's
face model, so its maps already tell lips from skin; the head is ours, fitted to region masks of the open data
(README.md). What the landmarks do not outline (hair, neck, clothes) is background to it.

Shape suffixes: B rows, C channels, K regions, H and W pixels.
"""

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.errors import WeightsNotFound
from train.pretrained.tflite.landmark_network import LandmarkNetwork

REGIONS: Final = ("background", "skin", "brows", "eyes", "nose", "lips", "mouth")
REGION_HEAD: Final = Path(__file__).parent / "region_head.safetensors"
_MAPS: Final = ((128, 16), (64, 32), (32, 64), (16, 128), (8, 128))
"""Sizes and channels of the trunk's last maps."""
_HIDDEN: Final = 48


class RegionHead(nn.Module):
    """Maps to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.ModuleList(
            nn.Conv2d(channels, _HIDDEN, 1, bias=size == _MAPS[0][0]) for size, channels in _MAPS
        )
        self.classify = nn.Conv2d(_HIDDEN, len(REGIONS), 1)

    def forward(self, maps_BCHW: list[Tensor]) -> Tensor:
        """Maps of 128 to 8 px to logits (B, 7, 128, 128)."""
        hidden = self.enter[0](maps_BCHW[0])
        for enter, coarse in zip(list(self.enter)[1:], maps_BCHW[1:], strict=True):
            hidden = hidden + F.interpolate(enter(coarse), hidden.shape[2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.classify(torch.relu(hidden))
        return logits


class RegionParser(nn.Module):
    """Head crops to logits of `train.pretrained.REGIONS`.

    Raises:
        WeightsNotFound: the package lacks its fitted head.
    """

    sizes: Final = tuple(size for size, _ in _MAPS)

    def __init__(self, landmarks: LandmarkNetwork) -> None:
        super().__init__()
        if not REGION_HEAD.is_file():
            raise WeightsNotFound(f"{REGION_HEAD} is missing; install the package again")
        self.landmarks, self.head = landmarks, RegionHead()
        self.head.load_state_dict({name: value.float() for name, value in load_file(REGION_HEAD).items()})
        self.eval().requires_grad_(False)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Crops of `engine.portrait.crop_face`, float32 (B, 3, H, W) in [-1, 1], to logits (B, 7, H, W).

        The softmax is each region's probability; edges are as fine as 1/128 of the crop.
        """
        logits: Tensor = self.head(self.landmarks.maps(rgb_B3HW, self.sizes))
        return F.interpolate(logits, rgb_B3HW.shape[2:], mode="bilinear", align_corners=False)
