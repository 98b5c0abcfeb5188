from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from torch import Tensor

from engine.streaming import SlidingWindow, State, StreamingLSTM


@dataclass(frozen=True, slots=True)
class _Pair(State):
    count_B: Tensor
    parts: tuple[State, ...]


def _pair(batch: int = 3) -> _Pair:
    parts = (StreamingLSTM(2, 4).init_state(batch), SlidingWindow(2, 3, fill=-4.0).init_state(batch))
    state = _Pair(torch.zeros(batch, dtype=torch.long), parts)
    for tensor in state.tensors():
        tensor.fill_(1)
    return state


def test_reset_reaches_nested_states_and_only_the_row() -> None:
    state = _pair()
    state.reset([1])
    assert state.batch == 3
    assert [tensor[1].flatten()[0].item() for tensor in state.tensors()] == [0, 0, 0, -4, False]
    assert all((tensor[[0, 2]] == 1).all() for tensor in state.tensors())


@pytest.mark.parametrize("rows", [None, [0, 1, 2], torch.tensor([True, True, True])])
def test_all_rows(rows: Tensor | list[int] | None) -> None:
    state = _pair()
    state.reset(rows)
    assert state.count_B.tolist() == [0, 0, 0]


@pytest.mark.parametrize("rows", [[3], [-1], torch.tensor([True]), torch.tensor([0, 1, 2])])
def test_rows_that_are_not_there_raise(rows: Tensor | list[int]) -> None:
    with pytest.raises(IndexError):
        _pair().reset(rows)


def test_tensors_cannot_be_replaced_only_written() -> None:
    state = _pair()
    with pytest.raises(FrozenInstanceError):
        state.count_B = torch.zeros(3)  # type: ignore[misc]
    other = _pair()
    other.count_B.fill_(9)
    address = state.count_B.data_ptr()
    state.copy_from(other)
    assert state.count_B.tolist() == [9, 9, 9]
    assert state.count_B.data_ptr() == address
