"""Convolutions whose weights a style scales, sample by sample, without weights of their own for every sample.

    definition       w'[b, o, i] = scale w[o, i] s[b, i]        d[b, o] = (sum_{i, k} w'^2 + 1e-8)^(-1/2)
                     y[b] = conv(x[b], w'[b] d[b])
    here             y    = conv(x s, scale w) d                d from s^2 and the squared weights

Scaling what goes in and what comes out leaves one shared weight: rows batch, and on a CPU it is several times
faster than grouped convolutions. Shape suffixes: B rows, I and O channels, S style.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator.network.equalised import EqualisedLinear, Freezable, fused_leaky_relu
from engine.animator.network.fir import FirBlur
from kernels.conv_epilogue import demodulation


class ModulatedConv2d(Freezable):
    """Modulated convolution that keeps the size, or doubles it (``upsample``: transposed by 2, then FIR)."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        size: int,
        style_size: int,
        *,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        if upsample and size != 3:
            raise ValueError(f"the upsampling form takes 3x3 kernels, not {size}x{size}")
        self.size, self.upsample, self.demodulate = size, upsample, demodulate
        self.scale = 1 / math.sqrt(channels * size * size)
        self.weight = nn.Parameter(torch.randn(out_channels, channels, size, size))
        self.modulation = EqualisedLinear(style_size, channels, bias=1.0)
        self.blur = FirBlur(out_channels, padding=1, gain=4.0) if upsample else None
        self.squared_OI: Tensor | None
        self.register_buffer("squared_OI", None, persistent=False)

    def forward(self, x_BIHW: Tensor, style_BS: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H, W), or (B, O, 2H, 2W) when upsampling."""
        y_BOHW, scale_BO = self.convolve(x_BIHW, style_BS)
        if self.blur is not None:
            y_BOHW = self.blur(y_BOHW)
        return y_BOHW if scale_BO is None else y_BOHW * scale_BO[:, :, None, None]

    def convolve(self, x_BIHW: Tensor, style_BS: Tensor) -> tuple[Tensor, Tensor | None]:
        """The convolution, and the scale (B, O) that is still to be applied (None: none), after the blur if any."""
        modulation_BI: Tensor = self.modulation(style_BS)
        x_BIHW = x_BIHW * modulation_BI[:, :, None, None]
        if self.blur is not None:
            y_BOHW = F.conv_transpose2d(x_BIHW, self._kernel(), stride=2)
        else:
            y_BOHW = F.conv2d(x_BIHW, self._kernel(), padding=self.size // 2)
        return y_BOHW, self._demodulation(modulation_BI) if self.demodulate else None

    def _kernel(self) -> Tensor:
        """Scaled weights, (O, I, k, k); (I, O, k, k) for the transposed convolution."""
        if self.frozen:
            return self.weight
        weight = self.weight * self.scale
        return weight.transpose(0, 1) if self.upsample else weight

    def _demodulation(self, modulation_BI: Tensor) -> Tensor:
        return demodulation(modulation_BI, self._squared() if self.squared_OI is None else self.squared_OI)

    def _squared(self) -> Tensor:
        return (self.weight * self.scale).square().sum((2, 3))

    def _freeze(self) -> None:
        self.squared_OI = self._squared() if self.demodulate else None
        self.weight.data = self._kernel().contiguous()


class StyledConv2d(nn.Module):
    """Demodulated 3x3 convolution with bias and the fused leaky ReLU."""

    def __init__(self, channels: int, out_channels: int, style_size: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels, out_channels, 3, style_size, upsample=upsample)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x_BIHW: Tensor, style_BS: Tensor) -> Tensor:
        """As `ModulatedConv2d`."""
        y_BOHW, scale_BO = self.conv.convolve(x_BIHW, style_BS)
        if self.conv.blur is not None:
            blurred_BOHW: Tensor = self.conv.blur(y_BOHW, self.bias, scale_BO)
            return blurred_BOHW
        return fused_leaky_relu(y_BOHW, self.bias, scale_BO)
