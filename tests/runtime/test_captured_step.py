"""The bookkeeping around CUDA graphs, by a twin that runs the step at every replay; the graph itself on a GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.errors import BackendUnavailable
from engine.runtime import CapturedStep, cuda_graphs_enabled
from engine.runtime.card import Outputs
from engine.runtime.cuda_graph import cuda_capture


class Summing:
    """y = a x + sum of all x so far, which is state; counts how often each argument was read anew."""

    def __init__(self, device: str = "cpu") -> None:
        self.total = torch.full((2,), 5.0, device=device)

    def __call__(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        self.total.add_(x)
        return x * a + self.total, self.total * 2


def _drawn(device: str, *rows: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, generator=generator).to(device) for _ in rows]


def _check_against_eager(device: str) -> None:
    eager, step = Summing(device), Summing(device)
    a, b = torch.tensor([2.0, 3.0], device=device), torch.tensor([-1.0, 0.5], device=device)
    captured = CapturedStep(step, (torch.zeros(2, device=device), a), cached={1}, state=[step.total])
    torch.testing.assert_close(step.total, torch.full((2,), 5.0, device=device))
    for index, x in enumerate(_drawn(device, *range(6))):
        factor = a if index < 3 else b
        for theirs, ours in zip(eager(x, factor), captured(x, factor), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_replays_compute_what_eager_computes_and_capturing_leaves_the_state_alone() -> None:
    _check_against_eager("cpu")


@pytest.mark.gpu
def test_a_cuda_graph_computes_what_eager_computes() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    _check_against_eager("cuda")


def test_outputs_are_the_steps_own_buffers() -> None:
    captured = CapturedStep(lambda x: (x + 1,), (torch.zeros(3),))
    (first,) = captured(torch.ones(3))
    (second,) = captured(torch.full((3,), 2.0))
    assert first is second
    assert first.tolist() == [3.0, 3.0, 3.0]


def test_cached_inputs_are_copied_when_another_tensor_comes() -> None:
    captured = CapturedStep(lambda x: (x + 1,), (torch.zeros(1),), cached={0})
    kept = torch.ones(1)
    assert captured(kept)[0].item() == 2
    kept.fill_(7)  # against the rules, and seen by nobody: so it was not copied again
    assert captured(kept)[0].item() == 2
    assert captured(kept.clone())[0].item() == 8


def test_another_shape_type_or_number_of_inputs_is_refused() -> None:
    captured = CapturedStep(lambda x, y: (x + y,), (torch.zeros(3), torch.zeros(3)))
    good = torch.zeros(3)
    for inputs, reason in (
        ((good,), "2 inputs"),
        ((good, torch.zeros(4)), "input 1 .* shape"),
        ((good.double(), good), "input 0 .* dtype"),
        ((good, good.to("meta")), "input 1 .* device"),
    ):
        with pytest.raises(ValueError, match=reason):
            captured(*inputs)


def test_state_that_was_replaced_is_noticed() -> None:
    step = Summing()
    captured = CapturedStep(step, (torch.zeros(2), torch.ones(2)), state=[step.total])
    step.total.set_(torch.zeros(2))  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="in place"):
        captured(torch.zeros(2), torch.ones(2))


def _cannot(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    run()  # a warm-up, which moves the state on
    raise RuntimeError("operation not permitted when stream is capturing")


def test_a_step_that_cannot_be_captured_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    step, eager = Summing(), Summing()
    given = torch.ones(2), torch.full((2,), 3.0)
    captured = CapturedStep(step, given, state=[step.total], capture=_cannot)
    assert len(caplog.records) == 1
    assert "not permitted" in caplog.text
    for _ in range(3):
        for theirs, ours in zip(eager(*given), captured(*given), strict=True):
            assert torch.equal(theirs, ours)


def test_a_step_that_fails_leaves_its_state_and_says_why() -> None:
    total = torch.zeros(2)

    def step(x: Tensor) -> Outputs:
        total.add_(x)
        raise RuntimeError("the step's own fault")

    with pytest.raises(RuntimeError, match="own fault"):
        CapturedStep(step, (torch.ones(2),), state=[total])
    assert total.tolist() == [0, 0]


def test_one_variable_switches_graphs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOHD_CUDA_GRAPHS", raising=False)
    assert cuda_graphs_enabled()
    for value in ("0", "off", "No", "false"):
        monkeypatch.setenv("GOHD_CUDA_GRAPHS", value)
        assert not cuda_graphs_enabled()


def test_a_graph_without_a_gpu_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(BackendUnavailable, match="CUDA device"):
        cuda_capture(lambda: (torch.zeros(1),))
