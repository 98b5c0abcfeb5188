"""Sliding window over the last N feature rows of every stream of a batch.

    N = 4, after rows r0 r1:        fill                    hold_first
                              [ f   f   r0  r1 ]       [ r0  r0  r0  r1 ]

Shapes: B batch, T time, N window length, F features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.streaming.state import State, advance


@dataclass(frozen=True, slots=True)
class SlidingWindowState(State):
    """The window itself, oldest row first, and whether a row of the batch has had its first input."""

    rows_BNF: Tensor
    started_B: Tensor
    fill: float

    def initial_value(self, field_name: str) -> float:
        return self.fill if field_name == "rows_BNF" else 0.0


class SlidingWindow:
    """The last `length` rows of `features` numbers.

    Before enough rows have come the missing ones are `fill`, or copies of the first row when `hold_first`
    (windows clamped at the start, as the animator's).
    """

    def __init__(self, length: int, features: int, fill: float = 0.0, hold_first: bool = False) -> None:
        if length < 1:
            raise ValueError(f"a window needs at least one row, got {length}")
        self.length = length
        self.features = features
        self.fill = fill
        self.hold_first = hold_first

    def init_state(
        self, batch: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> SlidingWindowState:
        """State of `batch` streams that have not begun."""
        rows = torch.full((batch, self.length, self.features), self.fill, dtype=dtype, device=device)
        return SlidingWindowState(rows, torch.zeros(batch, dtype=torch.bool, device=device), self.fill)

    def step(self, x_BF: Tensor, state: SlidingWindowState, active: Tensor | None = None) -> Tensor:
        """Push one row (B, F) -> the window (B, N, F), the state's own tensor: copy it to keep it."""
        newest_B1F = x_BF[:, None]
        rows = torch.cat([state.rows_BNF[:, 1:], newest_B1F], dim=1)
        if self.hold_first:
            rows = torch.where(state.started_B[:, None, None], rows, newest_B1F)
        advance(state.rows_BNF, rows, active)
        advance(state.started_B, torch.ones_like(state.started_B), active)
        return state.rows_BNF

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Windows of whole sequences: (B, T, F) -> (B, T, N, F), the same as T steps from a fresh state."""
        batch, _, features = x_BTF.shape
        before = x_BTF[:, :1] if self.hold_first else x_BTF.new_full((1, 1, 1), self.fill)
        padded = torch.cat([before.expand(batch, self.length - 1, features), x_BTF], dim=1)
        return padded.unfold(1, self.length, 1).transpose(2, 3)
