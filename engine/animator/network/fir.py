"""FIR resampling of feature maps with the binomial kernel [1, 3, 3, 1], by `kernels.fir_resample`.

blur      pad p before and after, 4x4 kernel                          H -> H + 2p - 3
upsample  a zero after every sample, pad 2 before and 1 after, 4x4    H -> 2H
"""

import torch
from torch import Tensor, nn

from kernels.fir_resample import fir_resample

_TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel(gain: float) -> Tensor:
    """Outer product of the taps, (4, 4) float32, summing to ``gain``; exact in half precision too."""
    taps = torch.tensor(_TAPS)
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


class FirBlur(nn.Module):
    """Blur of every channel by itself, optionally keeping only every ``stride``-th sample."""

    kernel: Tensor

    def __init__(self, channels: int, *, padding: int, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.channels, self.padding, self.stride = channels, padding, stride
        self.register_buffer("kernel", fir_kernel(gain).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x_BCHW: Tensor, bias_C: Tensor | None = None, scale_BC: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C, H', W') with H' = (H + 2 padding - 4) // stride + 1.

        With a bias, `fused_leaky_relu` of it and of a scale follows.
        """
        return fir_resample(
            x_BCHW,
            self.kernel,
            padding=self.padding,
            down=self.stride,
            scale_BC=scale_BC,
            bias_C=bias_C,
            activate=bias_C is not None,
        )


class FirUpsample(nn.Module):
    """Twice the size; a constant stays the same constant away from the border, beyond which lie zeros."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("kernel", fir_kernel(4.0).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x_BCHW: Tensor, added_BCHW: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W), plus what is given of that shape."""
        return fir_resample(x_BCHW, self.kernel, up=2, padding=1, added_BCHW=added_BCHW)
