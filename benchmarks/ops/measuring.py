"""How one operation is measured: implementations and the compiled reference beside what the device does at best."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.report.timing import Ceilings, percentiles, timed_ms
from kernels.choice import installed, triton_runs_on


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCase:
    """An operation on inputs of one size.

    Attributes:
        operation, name: the folder in `kernels`, and what was put in.
        call: takes the name of an implementation, or "reference", as ``impl``.
        implementations: those beside the reference that can run here.
        bytes_moved: each input read and each output written once.
        flop: operations on floating-point numbers, two for a multiply-add.
    """

    operation: str
    name: str
    call: Callable[..., object]
    implementations: tuple[str, ...]
    bytes_moved: int
    flop: int


def measured(
    case: OpCase, device: torch.device, ceilings: Ceilings, *, calls: int, budget_s: float, compiled: bool
) -> list[dict[str, Any]]:
    """A row for each implementation; ``compiled``: also for the reference under torch.compile."""
    forms: dict[str, Callable[[], object]] = {"reference": partial(case.call, impl="reference")}
    if compiled and (device.type == "cuda" or shutil.which("g++")):
        forms["compiled reference"] = torch.compile(lambda: case.call(impl="reference"), dynamic=False)
    forms |= {impl: partial(case.call, impl=impl) for impl in case.implementations}
    floor_ms = ceilings.floor_ms(case.flop, case.bytes_moved)
    rows: list[dict[str, Any]] = []
    for form, call in forms.items():
        with torch.inference_mode():
            ms = percentiles(timed_ms(call, device, calls=calls, budget_s=budget_s))
        rows.append(
            {
                "operation": case.operation,
                "case": case.name,
                "form": form,
                "ms": ms,
                "gb_per_s": round(case.bytes_moved / ms["p50"] / 1e6, 2),
                "gflops": round(case.flop / ms["p50"] / 1e6, 2),
                "share_of_floor": round(floor_ms / ms["p50"], 4),
            }
        )
    return rows


def triton_here(device: torch.device) -> tuple[str, ...]:
    """``("triton",)`` where Triton is installed and runs on ``device``, else nothing."""
    return ("triton",) if installed("triton") and triton_runs_on(device) else ()
