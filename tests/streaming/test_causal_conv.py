import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streaming import CausalConv1d
from tests.streaming_helper import (
    Streamed,
    check_causal,
    check_chunking,
    check_row_reset,
    chunk_sizes,
    run_chunks,
)

FRAMES = 23


def _stream(kernel: int, dilation: int, groups: int = 1) -> tuple[CausalConv1d, Streamed]:
    torch.manual_seed(kernel * 10 + dilation)
    conv = CausalConv1d(4, 6, kernel, dilation, groups)
    return conv, Streamed(init_state=conv.init_state, step=conv.step, forward=conv.forward, time_dim=2)


def _input(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 4, FRAMES, generator=torch.Generator().manual_seed(1))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 2]), chunk_sizes(FRAMES))
def test_any_chunking_equals_one_pass(kernel: int, dilation: int, groups: int, sizes: list[int]) -> None:
    check_chunking(_stream(kernel, dilation, groups)[1], _input(), sizes)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_causal_and_rows_independent(kernel: int, dilation: int) -> None:
    stream = _stream(kernel, dilation)[1]
    check_causal(stream, _input())
    check_row_reset(stream, _input(), row=1)


def test_equals_torch_convolution_on_padded_input() -> None:
    conv = CausalConv1d(4, 6, 3, 2)
    twin = torch.nn.Conv1d(4, 6, 3, dilation=2)
    conv.load_state_dict(twin.state_dict())
    padded = torch.nn.functional.pad(_input(), (4, 0))
    torch.testing.assert_close(conv(_input()), twin(padded))


def test_inactive_row_does_not_move() -> None:
    conv, stream = _stream(3, 2)
    x = _input(2)
    state = conv.init_state(2)
    with torch.no_grad():
        conv.step(x[:, :, :5], state)
        conv.step(torch.randn(2, 4, 3), state, active=torch.tensor([True, False]))
        y = conv.step(x[:, :, 5:], state)
    torch.testing.assert_close(y[1], run_chunks(stream, x, [5, FRAMES - 5])[1, :, 5:])
    assert not torch.allclose(y[0], run_chunks(stream, x, [5, FRAMES - 5])[0, :, 5:])
