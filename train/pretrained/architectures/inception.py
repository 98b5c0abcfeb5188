"""The network behind FID: InceptionV3 (Szegedy et al. 2016) as Heusel et al. 2017 used it.

Its weights came from TensorFlow and differ from torchvision's; so do three details, which FID figures depend on:
average poolings do not count their padding, the last block pools by maximum, and images are resized to 299 px
bilinearly without a low-pass. Names are those of the file that the pytorch-fid project publishes.
Shape suffixes: B rows, C channels, H and W pixels.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SIZE_PX = 299
_EPS = 1e-3

Kernel = int | tuple[int, int]


class _Conv(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, channels: int, out: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=_EPS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x_BCHW)))


def _mean_pool(x_BCHW: Tensor) -> Tensor:
    return F.avg_pool2d(x_BCHW, 3, 1, 1, count_include_pad=False)


class _Block(nn.Module):
    """Branches side by side; a branch is a run of convolutions, given by name."""

    def __init__(self, convs: Mapping[str, _Conv]) -> None:
        super().__init__()
        for name, conv in convs.items():
            self.add_module(name, conv)

    def run(self, x_BCHW: Tensor, *names: str) -> Tensor:
        for name in names:
            x_BCHW = self.get_submodule(name)(x_BCHW)
        return x_BCHW


class _BlockA(_Block):
    """35 px: 1x1, 5x5, double 3x3, pool."""

    def __init__(self, channels: int, pool: int) -> None:
        super().__init__(
            {
                "branch1x1": _Conv(channels, 64, 1),
                "branch5x5_1": _Conv(channels, 48, 1),
                "branch5x5_2": _Conv(48, 64, 5, padding=2),
                "branch3x3dbl_1": _Conv(channels, 64, 1),
                "branch3x3dbl_2": _Conv(64, 96, 3, padding=1),
                "branch3x3dbl_3": _Conv(96, 96, 3, padding=1),
                "branch_pool": _Conv(channels, pool, 1),
            }
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branches = [
            self.run(x_BCHW, "branch1x1"),
            self.run(x_BCHW, "branch5x5_1", "branch5x5_2"),
            self.run(x_BCHW, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            self.run(_mean_pool(x_BCHW), "branch_pool"),
        ]
        return torch.cat(branches, 1)


class _BlockB(_Block):
    """35 px to 17 px."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            {
                "branch3x3": _Conv(channels, 384, 3, 2),
                "branch3x3dbl_1": _Conv(channels, 64, 1),
                "branch3x3dbl_2": _Conv(64, 96, 3, padding=1),
                "branch3x3dbl_3": _Conv(96, 96, 3, 2),
            }
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branches = [
            self.run(x_BCHW, "branch3x3"),
            self.run(x_BCHW, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            F.max_pool2d(x_BCHW, 3, 2),
        ]
        return torch.cat(branches, 1)


class _BlockC(_Block):
    """17 px: 1x1, factorised 7x7, double 7x7, pool."""

    def __init__(self, width: int) -> None:
        row: dict[str, Kernel] = {"kernel": (1, 7), "padding": (0, 3)}
        column: dict[str, Kernel] = {"kernel": (7, 1), "padding": (3, 0)}

        def conv(channels: int, out: int, form: Mapping[str, Kernel]) -> _Conv:
            return _Conv(channels, out, form["kernel"], padding=form["padding"])

        super().__init__(
            {
                "branch1x1": _Conv(768, 192, 1),
                "branch7x7_1": _Conv(768, width, 1),
                "branch7x7_2": conv(width, width, row),
                "branch7x7_3": conv(width, 192, column),
                "branch7x7dbl_1": _Conv(768, width, 1),
                "branch7x7dbl_2": conv(width, width, column),
                "branch7x7dbl_3": conv(width, width, row),
                "branch7x7dbl_4": conv(width, width, column),
                "branch7x7dbl_5": conv(width, 192, row),
                "branch_pool": _Conv(768, 192, 1),
            }
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branches = [
            self.run(x_BCHW, "branch1x1"),
            self.run(x_BCHW, *(f"branch7x7_{index}" for index in (1, 2, 3))),
            self.run(x_BCHW, *(f"branch7x7dbl_{index}" for index in (1, 2, 3, 4, 5))),
            self.run(_mean_pool(x_BCHW), "branch_pool"),
        ]
        return torch.cat(branches, 1)


class _BlockD(_Block):
    """17 px to 8 px."""

    def __init__(self) -> None:
        super().__init__(
            {
                "branch3x3_1": _Conv(768, 192, 1),
                "branch3x3_2": _Conv(192, 320, 3, 2),
                "branch7x7x3_1": _Conv(768, 192, 1),
                "branch7x7x3_2": _Conv(192, 192, (1, 7), padding=(0, 3)),
                "branch7x7x3_3": _Conv(192, 192, (7, 1), padding=(3, 0)),
                "branch7x7x3_4": _Conv(192, 192, 3, 2),
            }
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branches = [
            self.run(x_BCHW, "branch3x3_1", "branch3x3_2"),
            self.run(x_BCHW, *(f"branch7x7x3_{index}" for index in (1, 2, 3, 4))),
            F.max_pool2d(x_BCHW, 3, 2),
        ]
        return torch.cat(branches, 1)


class _BlockE(_Block):
    """8 px: branches that fork at their end."""

    def __init__(self, channels: int, *, pool_max: bool) -> None:
        super().__init__(
            {
                "branch1x1": _Conv(channels, 320, 1),
                "branch3x3_1": _Conv(channels, 384, 1),
                "branch3x3_2a": _Conv(384, 384, (1, 3), padding=(0, 1)),
                "branch3x3_2b": _Conv(384, 384, (3, 1), padding=(1, 0)),
                "branch3x3dbl_1": _Conv(channels, 448, 1),
                "branch3x3dbl_2": _Conv(448, 384, 3, padding=1),
                "branch3x3dbl_3a": _Conv(384, 384, (1, 3), padding=(0, 1)),
                "branch3x3dbl_3b": _Conv(384, 384, (3, 1), padding=(1, 0)),
                "branch_pool": _Conv(channels, 192, 1),
            }
        )
        self.pool_max = pool_max

    def forward(self, x_BCHW: Tensor) -> Tensor:
        single = self.run(x_BCHW, "branch3x3_1")
        double = self.run(x_BCHW, "branch3x3dbl_1", "branch3x3dbl_2")
        pooled = F.max_pool2d(x_BCHW, 3, 1, 1) if self.pool_max else _mean_pool(x_BCHW)
        branches = [
            self.run(x_BCHW, "branch1x1"),
            self.run(single, "branch3x3_2a"),
            self.run(single, "branch3x3_2b"),
            self.run(double, "branch3x3dbl_3a"),
            self.run(double, "branch3x3dbl_3b"),
            self.run(pooled, "branch_pool"),
        ]
        return torch.cat(branches, 1)


class FidInception(nn.Module):
    """Images to the 2048 numbers that FID compares."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _BlockA(192, 32), _BlockA(256, 64), _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b, self.Mixed_6c = _BlockC(128), _BlockC(160)
        self.Mixed_6d, self.Mixed_6e = _BlockC(160), _BlockC(192)
        self.Mixed_7a = _BlockD()
        self.Mixed_7b, self.Mixed_7c = _BlockE(1280, pool_max=False), _BlockE(2048, pool_max=True)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Float32 (B, 3, H, W) in [-1, 1], any size, to (B, 2048)."""
        x_BCHW = F.interpolate(rgb_B3HW, (_SIZE_PX, _SIZE_PX), mode="bilinear", align_corners=False)
        x_BCHW = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x_BCHW)))
        x_BCHW = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x_BCHW, 3, 2)))
        x_BCHW = F.max_pool2d(x_BCHW, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x_BCHW = block(x_BCHW)
        return x_BCHW.mean((2, 3))
