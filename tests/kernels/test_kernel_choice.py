"""Which implementation is taken: the table, the switch, and what is refused."""

import pytest
import torch

from kernels.choice import MEASURED, choose
from kernels.conv_epilogue import conv_epilogue, demodulation
from kernels.errors import ImplementationUnavailable
from kernels.fir_resample import fir_resample
from kernels.warp_blend import warp_blend

_X = torch.zeros(1, 3, 8, 8)
_TAPS = torch.ones(3, 1, 4, 4)


@pytest.fixture(autouse=True)
def _no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.delenv("GOHD_KERNELS", raising=False)


def test_what_was_not_measured_on_a_card_is_not_taken_there() -> None:
    assert not [key for key in MEASURED if key[1] == "cuda"]
    assert choose("warp_blend", _X, ("triton",)) == "reference"


def test_the_switch_is_over_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("backward_warp", _X, ("opencv",)) == "opencv"
    monkeypatch.setenv("GOHD_KERNELS", "reference")
    assert choose("backward_warp", _X, ("opencv",)) == "reference"
    monkeypatch.setenv("GOHD_KERNELS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    assert choose("warp_blend", _X, ("triton",)) == "triton"
    assert choose("warp_blend", _X, ()) == "reference"


def test_what_is_exported_keeps_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOHD_KERNELS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")

    class Blur(torch.nn.Module):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return fir_resample(x_BCHW, _TAPS, padding=1)

    program = torch.export.export(Blur(), (_X,))
    assert "aten.conv2d.default" in {str(node.target) for node in program.graph.nodes}


@pytest.mark.parametrize(
    "call",
    [
        lambda: warp_blend(_X, _X, _X, impl="triton"),
        lambda: fir_resample(_X, _TAPS, padding=1, impl="triton"),
        lambda: conv_epilogue(_X, _X[0, :, 0, 0], impl="triton"),
        lambda: demodulation(_X[:, :, 0, 0], _X[0, :, :3, 0], impl="triton"),
    ],
)
def test_triton_without_a_card_says_so(call: object) -> None:
    assert callable(call)
    with pytest.raises(ImplementationUnavailable, match=r"pip install triton|CUDA"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: warp_blend(_X, _X[:, :2], _X),
        lambda: warp_blend(_X, _X, _X[:, :2]),
        lambda: warp_blend(_X, _X, _X, rest="all"),  # type: ignore[arg-type]
        lambda: fir_resample(_X, _TAPS, padding=1, up=2, down=2),
        lambda: fir_resample(_X, _TAPS[:2], padding=1),
        lambda: fir_resample(_X, _TAPS, padding=1, activate=True),
        lambda: fir_resample(_X, _TAPS, padding=1, added_BCHW=_X),
        lambda: fir_resample(_X[..., :2, :2], _TAPS, padding=0),
        lambda: conv_epilogue(_X, _X[0, 0, 0]),
        lambda: demodulation(_X[:, :, 0, 0], _X[0, :, :2, 0]),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(ValueError):
        call()
