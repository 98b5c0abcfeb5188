"""Multi-layer LSTM that runs over whole sequences or one frame at a time.

Shapes: B batch, T time, D input features, L layers, H hidden size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.streaming.state import State, advance


@dataclass(frozen=True, slots=True)
class StreamingLSTMState(State):
    """Hidden and cell values, batch first (torch.nn.LSTM puts it second) so that rows can be reset."""

    hidden_BLH: Tensor
    cell_BLH: Tensor


class StreamingLSTM(nn.LSTM):
    """`torch.nn.LSTM`, batch first, no dropout: same parameter names and maths, stepped frame by frame.

    Gates in torch's order, with sigma the logistic function:
        i, f, g, o = split(W_ih x + b_ih + W_hh h + b_hh)
        c <- sigma(f) c + sigma(i) tanh(g);   h <- sigma(o) tanh(c)
    """

    def __init__(self, input_size: int, hidden_size: int, layers: int = 1) -> None:
        super().__init__(input_size, hidden_size, num_layers=layers, batch_first=True)

    def init_state(self, batch: int, device: torch.device | str = "cpu") -> StreamingLSTMState:
        """State of `batch` streams that have not begun: all zeros."""
        shape = (batch, self.num_layers, self.hidden_size)
        dtype = next(self.parameters()).dtype
        return StreamingLSTMState(
            torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device)
        )

    def step(self, x_BD: Tensor, state: StreamingLSTMState, active: Tensor | None = None) -> Tensor:
        """One frame (B, D) -> (B, H); moves `state` on (only rows where `active`, if given)."""
        y = x_BD
        hidden, cell = [], []
        for layer in range(self.num_layers):
            h, c = torch.lstm_cell(
                y,
                [state.hidden_BLH[:, layer], state.cell_BLH[:, layer]],
                getattr(self, f"weight_ih_l{layer}"),
                getattr(self, f"weight_hh_l{layer}"),
                getattr(self, f"bias_ih_l{layer}"),
                getattr(self, f"bias_hh_l{layer}"),
            )
            hidden.append(h)
            cell.append(c)
            y = h
        advance(state.hidden_BLH, torch.stack(hidden, dim=1), active)
        advance(state.cell_BLH, torch.stack(cell, dim=1), active)
        return y

    def forward(self, x_BTD: Tensor) -> Tensor:  # type: ignore[override]
        """Whole sequences (B, T, D) from a fresh state -> (B, T, H), by torch's fused kernel."""
        y_BTH: Tensor = super().forward(x_BTD)[0]
        return y_BTH
