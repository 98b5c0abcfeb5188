"""ResNet-50 (He et al. 2016), in the names that its published checkpoints use.

    image --7x7/2, pool/2--> layer1 --> layer2 /2 --> layer3 /2 --> layer4 /2 --mean--> features

Shape suffixes: B rows, C channels, H and W pixels.
"""

import dataclasses

import torch
from torch import Tensor, nn

_EXPANSION = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig:
    """Width of the first stage and blocks of each; defaults are ResNet-50."""

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        if self.width < 1 or len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ValueError("a ResNet has a positive width and four stages of one block or more")

    @property
    def feature_size(self) -> int:
        """Length of the feature vector."""
        return self.width * 8 * _EXPANSION


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            conv = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = torch.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = torch.relu(self.bn2(self.conv2(y_BCHW)))
        skip_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return torch.relu(self.bn3(self.conv3(y_BCHW)) + skip_BCHW)


class ResNet(nn.Module):
    """Images to feature vectors."""

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResNetConfig()
        self.conv1 = nn.Conv2d(3, config.width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        channels = config.width
        for stage, count in enumerate(config.blocks):
            width = config.width << stage
            blocks = []
            for index in range(count):
                blocks.append(_Bottleneck(channels, width, 2 if stage and index == 0 else 1))
                channels = width * _EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def features(self, rgb_B3HW: Tensor) -> Tensor:
        """float32 (B, 3, H, W) to (B, ``feature_size``)."""
        x_BCHW = torch.relu(self.bn1(self.conv1(rgb_B3HW)))
        x_BCHW = torch.max_pool2d(x_BCHW, 3, 2, 1)
        for stage in range(len(self.config.blocks)):
            x_BCHW = self.get_submodule(f"layer{stage + 1}")(x_BCHW)
        return x_BCHW.mean(dim=(2, 3))

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """As `features`."""
        return self.features(rgb_B3HW)
