"""The pose network of the paper's evaluation: 6DoF-HPE (Algabri et al. 2024), a RepVGG that regresses a rotation.

Only its rotation network is here; the translation of that work needs a depth camera. Its files hold RepVGG (Ding et
al. 2021) in the deployed form: one 3x3 convolution a block, some of them grouped. Widths, depths and groups are read
from the file, so every RepVGG without squeeze-and-excite fits. Shape suffixes: B rows, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import CheckpointRefused
from train.pretrained.pixels import ImageNetPixels

_SIZE_PX, _STAGES = 224, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RepVggConfig:
    """Widths and numbers of blocks of the five stages (the first is one block), and groups of every second layer.

    Defaults are RepVGG-B1g4.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 2048)
    blocks: tuple[int, ...] = (1, 4, 6, 16, 1)
    groups: int = 4

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> RepVggConfig:
        """The configuration of a deployed file.

        Raises:
            CheckpointRefused: the tensors are not those of a deployed RepVGG.
        """
        try:
            first = tensors["layer0.rbr_reparam.weight"]
            last = [tensors[f"layer{stage}.0.rbr_reparam.weight"] for stage in range(1, _STAGES)]
        except KeyError as error:
            raise CheckpointRefused(
                f"the head pose file lacks {error}: it must be in RepVGG's deployed form (rbr_reparam); convert a "
                "training checkpoint with the project's convert.py first"
            ) from None
        widths = tuple(int(weight.shape[0]) for weight in (first, *last))
        blocks = [1]
        for stage in range(1, _STAGES):
            count = 0
            while f"layer{stage}.{count}.rbr_reparam.weight" in tensors:
                count += 1
            blocks.append(count)
        second = tensors.get("layer1.1.rbr_reparam.weight")
        groups = 1 if second is None else widths[1] // max(1, int(second.shape[1]))
        return cls(widths=widths, blocks=tuple(blocks), groups=max(1, groups))


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(channels, width, 3, stride, 1, groups=groups)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(self.rbr_reparam(x_BCHW))


class HeadPose(nn.Module):
    """Heads to rotation matrices."""

    def __init__(self, config: RepVggConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RepVggConfig()
        self.pixels = ImageNetPixels(_SIZE_PX)
        self.layer0 = _Block(3, config.widths[0], 2, 1)
        channels, layer = config.widths[0], 1
        for stage in range(1, _STAGES):
            blocks = []
            for index in range(config.blocks[stage]):
                groups = 1 if layer % 2 else config.groups
                blocks.append(_Block(channels, config.widths[stage], 1 if index else 2, groups))
                channels, layer = config.widths[stage], layer + 1
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear_reg = nn.Linear(channels, 6)

    def features(self, rgb_B3HW: Tensor) -> Tensor:
        """Heads as below to pooled features (B, C)."""
        x_BCHW = self.layer0(self.pixels(rgb_B3HW))
        for stage in range(1, _STAGES):
            x_BCHW = self.get_submodule(f"layer{stage}")(x_BCHW)
        return cast(Tensor, x_BCHW.mean((2, 3)))

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Heads, float32 (B, 3, H, W) in [-1, 1], cut 1.4 times the head's box, to rotations (B, 3, 3).

        The first two columns come from the six numbers by Gram-Schmidt (Zhou et al. 2019), the third is their
        cross product.
        """
        six_B6 = self.linear_reg(self.features(rgb_B3HW))
        x_B3 = F.normalize(six_B6[:, :3], dim=1)
        z_B3 = F.normalize(torch.linalg.cross(x_B3, six_B6[:, 3:]), dim=1)
        return torch.stack([x_B3, torch.linalg.cross(z_B3, x_B3), z_B3], 2)
