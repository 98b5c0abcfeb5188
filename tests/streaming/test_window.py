import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streaming import SlidingWindow
from tests.streaming_helper import (
    Streamed,
    check_causal,
    check_chunking,
    check_row_reset,
    chunk_sizes,
    frame_step,
)

FRAMES = 15


def _stream(length: int, hold_first: bool) -> Streamed:
    window = SlidingWindow(length, 3, fill=-4.0, hold_first=hold_first)
    return Streamed(init_state=window.init_state, step=frame_step(window.step), forward=window.forward, atol=0.0)


def _input() -> torch.Tensor:
    return torch.randn(3, FRAMES, 3, generator=torch.Generator().manual_seed(3))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.booleans(), chunk_sizes(FRAMES))
def test_any_chunking_equals_one_pass(length: int, hold_first: bool, sizes: list[int]) -> None:
    check_chunking(_stream(length, hold_first), _input(), sizes)


@pytest.mark.parametrize("hold_first", [False, True])
def test_causal_and_rows_independent(hold_first: bool) -> None:
    check_causal(_stream(4, hold_first), _input())
    check_row_reset(_stream(4, hold_first), _input(), row=2)


def test_fill_before_the_first_row() -> None:
    window = SlidingWindow(3, 1, fill=-4.0)
    rows = window.step(torch.ones(1, 1), window.init_state(1))
    assert rows[0, :, 0].tolist() == [-4.0, -4.0, 1.0]
