"""The parsing network of Eq. 15: BiSeNet (Yu et al. 2018) on a ResNet-18, 19 classes of CelebAMask-HQ.

    rgb 512 --trunk--> 1/8 -----------------------------------------------.
                       1/16 --refine--(+)--head-- up --> 1/8 context ---- fuse --> classes --> logits at 512
                       1/32 --refine--(+)--head-- up ----^
                       mean --conv-----^

Shape suffixes: B rows, C channels, K classes, H and W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.pretrained.architectures.basic_resnet import BasicTrunk
from train.pretrained.pixels import ImageNetPixels

PARSING_CLASSES = (
    "background", "skin", "brow_left", "brow_right", "eye_left", "eye_right", "glasses", "ear_left", "ear_right",
    "earring", "nose", "mouth", "lip_upper", "lip_lower", "neck", "necklace", "cloth", "hair", "hat",
)  # fmt: skip
"""In the order of the published file."""

_SIZE_PX, _WIDTH = 512, 128


class _ConvNorm(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x_BCHW)))


class _Refine(nn.Module):
    """A convolution whose channels are weighed by their mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = _ConvNorm(channels, _WIDTH, 3)
        self.gate = nn.Conv2d(_WIDTH, _WIDTH, 1, bias=False)
        self.gate_bn = nn.BatchNorm2d(_WIDTH)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.body(x_BCHW)
        gate_BC11 = torch.sigmoid(self.gate_bn(self.gate(y_BCHW.mean((2, 3), keepdim=True))))
        return y_BCHW * gate_BC11


class FaceParsing(nn.Module):
    """Heads to class logits."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = ImageNetPixels(_SIZE_PX)
        self.stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.stem_bn = nn.BatchNorm2d(64)
        self.trunk = BasicTrunk()
        self.pooled = _ConvNorm(512, _WIDTH, 1)
        self.refine_32, self.refine_16 = _Refine(512), _Refine(256)
        self.head_32, self.head_16 = _ConvNorm(_WIDTH, _WIDTH, 3), _ConvNorm(_WIDTH, _WIDTH, 3)
        self.fuse = _ConvNorm(2 * _WIDTH, 256, 1)
        self.gate_down = nn.Conv2d(256, 64, 1, bias=False)
        self.gate_up = nn.Conv2d(64, 256, 1, bias=False)
        self.classify = nn.Sequential(_ConvNorm(256, 256, 3), nn.Conv2d(256, len(PARSING_CLASSES), 1, bias=False))

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Float32 (B, 3, H, W) in [-1, 1], a head as CelebA crops it, to logits (B, 19, H, W)."""
        x_BCHW = torch.relu(self.stem_bn(self.stem(self.pixels(rgb_B3HW))))
        _, map_8, map_16, map_32 = self.trunk(torch.max_pool2d(x_BCHW, 3, 2, 1))
        context = self.refine_32(map_32) + self.pooled(map_32.mean((2, 3), keepdim=True))
        context = self.refine_16(map_16) + self.head_32(F.interpolate(context, map_16.shape[2:]))
        context = self.head_16(F.interpolate(context, map_8.shape[2:]))
        fused = self.fuse(torch.cat([map_8, context], 1))
        gate = torch.sigmoid(self.gate_up(torch.relu(self.gate_down(fused.mean((2, 3), keepdim=True)))))
        logits = self.classify(fused * gate + fused)
        return F.interpolate(logits, rgb_B3HW.shape[2:], mode="bilinear", align_corners=True)
