"""State that lives outside the module: what every streaming part of the engine is made of."""

from engine.streaming.lstm import StreamingLSTM, StreamingLSTMState
from engine.streaming.ring import Ring
from engine.streaming.state import Rows, State, StreamingModule, advance, row_mask

__all__ = [
    "Ring",
    "Rows",
    "State",
    "StreamingLSTM",
    "StreamingLSTMState",
    "StreamingModule",
    "advance",
    "row_mask",
]
