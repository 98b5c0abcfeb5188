"""The 18-layer residual trunk that the parsing and the lip reading network share (He et al. 2016).

Shape suffixes: B rows, C channels, H and W pixels.
"""

from collections.abc import Callable

from torch import Tensor, nn

_WIDTHS = (64, 128, 256, 512)
_BLOCKS = 2

Activation = Callable[[int], nn.Module]


class _BasicBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = activation(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = activation(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width:
            conv = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.relu1(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        skip_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        out: Tensor = self.relu2(y_BCHW + skip_BCHW)
        return out


class BasicTrunk(nn.Module):
    """Four stages of two blocks, 64 to 512 channels, each but the first at half the size of the one before."""

    def __init__(self, activation: Activation = lambda _: nn.ReLU()) -> None:
        super().__init__()
        channels = _WIDTHS[0]
        for stage, width in enumerate(_WIDTHS):
            blocks = []
            for index in range(_BLOCKS):
                blocks.append(_BasicBlock(channels, width, 2 if stage and index == 0 else 1, activation))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """(B, 64, H, W) to the outputs of the four stages."""
        maps = []
        for stage in range(len(_WIDTHS)):
            x_BCHW = self.get_submodule(f"layer{stage + 1}")(x_BCHW)
            maps.append(x_BCHW)
        return maps
