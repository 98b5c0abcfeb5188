"""State that lives outside the module: what every streaming part of the engine is made of."""

from engine.streaming.causal_conv import CausalConv1d, CausalConvState
from engine.streaming.lstm import StreamingLSTM, StreamingLSTMState
from engine.streaming.ring import Ring
from engine.streaming.state import Rows, State, advance, row_mask
from engine.streaming.window import SlidingWindow, SlidingWindowState

__all__ = [
    "CausalConv1d",
    "CausalConvState",
    "Ring",
    "Rows",
    "SlidingWindow",
    "SlidingWindowState",
    "State",
    "StreamingLSTM",
    "StreamingLSTMState",
    "advance",
    "row_mask",
]
