"""The identity network behind CSIM: the improved ResNet of ArcFace (Deng et al. 2019).

Shape suffixes: B rows, C channels, H and W pixels.
"""

from torch import Tensor, nn

from train.pretrained.pixels import resized

_WIDTHS, _SIZE_PX, _EMBEDDING = (64, 128, 256, 512), 112, 512


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width:
            conv = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.prelu(self.bn2(self.conv1(self.bn1(x_BCHW))))
        y_BCHW = self.bn3(self.conv2(y_BCHW))
        skip_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        out: Tensor = y_BCHW + skip_BCHW
        return out


class ArcFace(nn.Module):
    """Aligned faces to identity embeddings.

    Args:
        blocks: of each stage; (3, 4, 14, 3) is the 50-layer network, (3, 13, 30, 3) the 100-layer one;
            `load_pretrained` sees it in the file.
    """

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 14, 3)) -> None:
        super().__init__()
        self.blocks = blocks
        channels = _WIDTHS[0]
        self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        for stage, (width, count) in enumerate(zip(_WIDTHS, blocks, strict=True)):
            layers = []
            for index in range(count):
                layers.append(_Block(channels, width, 2 if index == 0 else 1))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels * (_SIZE_PX // 16) ** 2, _EMBEDDING)
        self.features = nn.BatchNorm1d(_EMBEDDING)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Faces, float32 (B, 3, 112, 112) in [-1, 1], cut by `recognition_places`, to (B, 512), not normalised."""
        x_BCHW = self.prelu(self.bn1(self.conv1(resized(rgb_B3HW, _SIZE_PX))))
        for stage in range(len(_WIDTHS)):
            x_BCHW = self.get_submodule(f"layer{stage + 1}")(x_BCHW)
        embedding: Tensor = self.features(self.fc(self.bn2(x_BCHW).flatten(1)))
        return embedding
