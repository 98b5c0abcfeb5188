"""Residual convolutional encoder of a mel window (Phi_a of Eq. 5).

    (1, 80, 16)  --stem-->  widths[0]  --stage-->  widths[1] ... widths[-1]  --cover-->  size  --1x1-->  size
                                                                            one conv as large as what is left

Shape suffixes: N windows, C channels, F mel bands, W mel columns, A embedding.
"""

import dataclasses
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engine.timebase import MEL_BANDS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudioEncoderConfig:
    """Widths and strides of the encoder; defaults are the released layout.

    ``widths`` are the channels of the stem and of each following stage, ``mel_strides`` and ``time_strides``
    the strides of the conv that opens each of them, ``residuals`` how many residual convs follow it.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    mel_strides: tuple[int, ...] = (1, 3, 3, 3)
    time_strides: tuple[int, ...] = (1, 1, 3, 2)
    residuals: int = 2
    size: int = 512
    columns: int = 16

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.mel_strides) == len(self.time_strides) > 0:
            raise ValueError("widths, mel_strides and time_strides must have one entry for each stage")
        if min(*self.widths, *self.mel_strides, *self.time_strides, self.size, self.columns) < 1:
            raise ValueError("widths, strides, size and columns must be positive")
        if self.residuals < 0:
            raise ValueError("residuals must not be negative")

    def cover(self) -> tuple[int, int]:
        """Size (mel, time) of the map that the last stage leaves, hence of the covering kernel."""
        bands, columns = MEL_BANDS, self.columns
        for mel_stride, time_stride in zip(self.mel_strides, self.time_strides, strict=True):
            bands = (bands - 1) // mel_stride + 1
            columns = (columns - 1) // time_stride + 1
        return bands, columns


class _ConvNorm(nn.Module):
    """Conv, BatchNorm, ReLU; with ``residual`` the input is added before the ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        padding: int = 0,
        *,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)
        self.residual = residual

    def forward(self, x_NCFW: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x_NCFW))
        return torch.relu_(y + x_NCFW if self.residual else y)

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class AudioEncoder(nn.Module):
    """Mel windows to embeddings."""

    def __init__(self, config: AudioEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or AudioEncoderConfig()
        layers: list[nn.Module] = []
        width_before = 1
        for width, *stride in zip(self.config.widths, self.config.mel_strides, self.config.time_strides, strict=True):
            layers.append(_ConvNorm(width_before, width, stride=(stride[0], stride[1]), padding=1))
            layers += [_ConvNorm(width, width, padding=1, residual=True) for _ in range(self.config.residuals)]
            width_before = width
        layers.append(_ConvNorm(width_before, self.config.size, kernel=self.config.cover()))
        layers.append(_ConvNorm(self.config.size, self.config.size, kernel=(1, 1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, mel_NFW: Tensor) -> Tensor:
        """Embed mel windows.

        Args:
            mel_NFW: float32 (N, 80, ``columns``) in [-4, 4].

        Returns:
            float32 (N, ``size``), not negative (the last layer ends in a ReLU).
        """
        embedding: Tensor = self.layers(mel_NFW.unsqueeze(1))
        return embedding.flatten(1)

    def fold_norms(self) -> Self:
        """Merge every BatchNorm into its conv, in place, for inference; the function stays the same.

        Weights turn channels-last, which CPU convs of this size run a third faster.

        Raises:
            ValueError: the module is in training mode.
        """
        if self.training:
            raise ValueError("call eval() before fold_norms(): batch statistics cannot be folded")
        for layer in self.layers:
            assert isinstance(layer, _ConvNorm)
            layer.fold()
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self
