import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streaming import StreamingLSTM
from tests.streaming_helper import (
    Streamed,
    check_causal,
    check_chunking,
    check_row_reset,
    chunk_sizes,
    frame_step,
)

FRAMES = 17


def _lstm(layers: int = 2) -> StreamingLSTM:
    torch.manual_seed(layers)
    return StreamingLSTM(5, 8, layers)


def _stream(lstm: StreamingLSTM) -> Streamed:
    return Streamed(init_state=lstm.init_state, step=frame_step(lstm.step), forward=lstm.forward)


def _input() -> torch.Tensor:
    return torch.randn(3, FRAMES, 5, generator=torch.Generator().manual_seed(2))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), chunk_sizes(FRAMES))
def test_any_chunking_equals_one_pass(layers: int, sizes: list[int]) -> None:
    check_chunking(_stream(_lstm(layers)), _input(), sizes)


def test_causal_and_rows_independent() -> None:
    stream = _stream(_lstm())
    check_causal(stream, _input())
    for row in range(3):
        check_row_reset(stream, _input(), row)


def test_torch_weights_load_one_to_one() -> None:
    torch.manual_seed(0)
    twin = torch.nn.LSTM(5, 8, num_layers=2, batch_first=True)
    lstm = _lstm()
    lstm.load_state_dict(twin.state_dict())
    torch.testing.assert_close(lstm(_input()), twin(_input())[0])


def test_inactive_row_does_not_move() -> None:
    lstm = _lstm()
    state = lstm.init_state(3)
    x = _input()
    with torch.no_grad():
        lstm.step(x[:, 0], state)
        before = state.cell_BLH.clone()
        lstm.step(x[:, 1], state, active=torch.tensor([True, False, True]))
    assert torch.equal(state.cell_BLH[1], before[1])
    assert not torch.equal(state.cell_BLH[0], before[0])
