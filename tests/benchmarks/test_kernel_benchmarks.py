"""The kernels' benchmarks: what they put in runs, and what they conclude."""

import importlib
from typing import Any

import pytest
import torch

from benchmarks.ops.__main__ import OPERATIONS, verdicts
from benchmarks.ops.measuring import measured
from benchmarks.report.timing import Ceilings


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_measured_against_its_floor(operation: str) -> None:
    device = torch.device("cpu")
    case = importlib.import_module(f"benchmarks.ops.{operation}").cases(device, quick=True)[0]
    ceilings = Ceilings(copy_gbs=10.0, matrix_tflops=0.1)
    reference, *_ = measured(case, device, ceilings, calls=1, budget_s=0.1, compiled=False)
    assert reference["form"] == "reference"
    assert reference["operation"] == operation
    floor_ms = max(case.bytes_moved / 10e6, case.flop / 0.1e9)
    assert reference["share_of_floor"] == pytest.approx(floor_ms / reference["ms"]["p50"], abs=1e-3)


def _row(case: str, form: str, ms: float) -> dict[str, Any]:
    return {"operation": "blur", "case": case, "form": form, "ms": {"p50": ms}}


def test_a_kernel_is_kept_where_it_beats_the_compiled_reference_in_every_case() -> None:
    rows = [_row("a", "compiled reference", 2.0), _row("a", "triton", 1.0), _row("a", "reference", 9.0)]
    assert verdicts(rows) == [
        {"operation": "blur", "form": "triton", "times_faster_than_compiled": [2.0, 2.0], "keep": True}
    ]
    rows += [_row("b", "compiled reference", 1.0), _row("b", "triton", 2.0)]
    assert verdicts(rows)[0]["keep"] is False
    assert verdicts([_row("a", "reference", 1.0), _row("a", "triton", 1.0)]) == []
