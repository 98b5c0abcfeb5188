from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from torch import Tensor

from engine.motion.diffusion.window import PoseWindow
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.streaming import State, StreamingLSTM, StreamingModule


@dataclass(frozen=True, slots=True)
class _Filled(State):
    rows_BN: Tensor
    fill: float

    def initial_value(self, field_name: str) -> float:
        return self.fill if field_name == "rows_BN" else 0.0


@dataclass(frozen=True, slots=True)
class _Pair(State):
    count_B: Tensor
    parts: tuple[State, ...]


def _pair(batch: int = 3) -> _Pair:
    parts = (StreamingLSTM(2, 4).init_state(batch), _Filled(torch.zeros(batch, 2), -4.0))
    state = _Pair(torch.zeros(batch, dtype=torch.long), parts)
    for tensor in state.tensors():
        tensor.fill_(1)
    return state


def test_reset_reaches_nested_states_and_only_the_row() -> None:
    state = _pair()
    state.reset([1])
    assert state.batch == 3
    assert [tensor[1].flatten()[0].item() for tensor in state.tensors()] == [0, 0, 0, -4]
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


def test_some_rows_are_gathered_worked_on_and_written_back() -> None:
    state, rows = _pair(), torch.tensor([2, 0])
    state.count_B.copy_(torch.tensor([5, 6, 7]))
    addresses = [tensor.data_ptr() for tensor in state.tensors()]
    part = state.gather(rows)
    assert part.count_B.tolist() == [7, 5]
    assert isinstance(part.parts[1], _Filled)
    assert part.parts[1].fill == -4.0
    for tensor in part.tensors():
        tensor.add_(10)
    assert state.count_B.tolist() == [5, 6, 7]
    state.scatter(rows, part)
    assert state.count_B.tolist() == [15, 6, 17]
    assert all((tensor[1] == 1).all() for tensor in list(state.tensors())[1:])
    assert addresses == [tensor.data_ptr() for tensor in state.tensors()]


@pytest.mark.parametrize("module", [StreamingLSTM, EyeMotionNetwork, PoseWindow])
def test_streaming_modules_follow_the_protocol(module: type) -> None:
    assert issubclass(module, StreamingModule)
