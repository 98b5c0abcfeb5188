"""Causal 1-D convolution that runs over whole sequences or in chunks of any size.

    kernel 3, dilation 2: output t reads inputs t-4, t-2, t, never anything later.

        state (the last 4 inputs)        chunk
        [ x-4  x-3  x-2  x-1 ]   [ x0   x1   x2 ... ]
           *---------*--------------*                      -> y0
                *---------*--------------*                 -> y1

Before the stream begins the inputs are zeros. Shapes: B batch, C channels, T time, P past.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.streaming.state import State, advance


@dataclass(frozen=True, slots=True)
class CausalConvState(State):
    """The last `(kernel - 1) * dilation` inputs of each row."""

    past_BCP: Tensor


class CausalConv1d(nn.Module):
    """Convolution with stride 1 over time that looks only back.

    Parameters `weight` (out, in / groups, kernel) and `bias` (out,) are named as in `torch.nn.Conv1d`, so its
    weights load one to one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if kernel < 1 or dilation < 1:
            raise ValueError(f"kernel and dilation must be at least 1, got {kernel} and {dilation}")
        conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, groups=groups, bias=bias)
        self.weight = conv.weight
        self.bias = conv.bias
        self.in_channels = in_channels
        self.dilation = dilation
        self.groups = groups
        self.past = (kernel - 1) * dilation

    def init_state(self, batch: int, device: torch.device | str = "cpu") -> CausalConvState:
        """State of `batch` streams that have not begun."""
        shape = (batch, self.in_channels, self.past)
        return CausalConvState(torch.zeros(shape, dtype=self.weight.dtype, device=device))

    def step(self, x_BCT: Tensor, state: CausalConvState, active: Tensor | None = None) -> Tensor:
        """Next chunk of T >= 1 inputs -> (B, out, T); moves `state` on (only `active` rows, if given)."""
        joined = torch.cat([state.past_BCP, x_BCT], dim=2)
        advance(state.past_BCP, joined[:, :, joined.shape[2] - self.past :], active)
        return self._convolve(joined)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Whole sequences (B, in, T) -> (B, out, T); the same numbers as `step` from a fresh state."""
        return self._convolve(functional.pad(x_BCT, (self.past, 0)))

    def _convolve(self, x_BCT: Tensor) -> Tensor:
        return functional.conv1d(x_BCT, self.weight, self.bias, dilation=self.dilation, groups=self.groups)
