"""Every operation of `kernels` against its memory or compute floor, and which implementation ought to be taken.

    python -m benchmarks.ops [--device cpu|cuda] [--quick] [--json OUT] [OPERATION ...]

``floor`` is the larger of bytes over the speed of a copy and operations over that of a matrix product, both measured in
the same run; a share of 1 is as fast as the device could be. ``verdicts`` compares with the compiled reference: what
does not beat it in every case belongs out of the project, what does belongs in `kernels.choice.MEASURED`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.latency import hardware, versions
from benchmarks.ops.measuring import Ceilings, measured
from benchmarks.report.timing import matrix_ceiling_tflops, memory_ceiling_gbs

OPERATIONS = ("backward_warp", "warp_blend", "fir_resample", "conv_epilogue", "yuv420")


def reports(device: torch.device, operations: tuple[str, ...], *, quick: bool) -> Iterator[dict[str, Any]]:
    """What is written as JSON, after each operation anew, so that a run that is cut short leaves what it has."""
    on_cuda = device.type == "cuda"
    dtype = torch.float16 if on_cuda else torch.float32
    size, size_mib = (4096, 512) if on_cuda and not quick else (256, 16)
    ceilings = Ceilings(
        copy_gbs=memory_ceiling_gbs(device, size_mib),
        matrix_tflops=matrix_ceiling_tflops(device, dtype, size),
    )
    calls, budget_s = (3, 0.3) if quick else (200, 0.5)
    rows: list[dict[str, Any]] = []
    for operation in operations:
        for case in importlib.import_module(f"benchmarks.ops.{operation}").cases(device, quick=quick):
            # Compiling takes seconds for each case; a quick run only shows that all of it runs.
            rows += measured(case, device, ceilings, calls=calls, budget_s=budget_s, compiled=not quick)
        yield {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "quick": quick,
            "hardware": hardware(device.type),
            "versions": versions(),
            "copy_gbs": round(ceilings.copy_gbs, 1),
            "matrix_tflops": round(ceilings.matrix_tflops, 3),
            "rows": rows,
            "verdicts": verdicts(rows),
        }


def verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each implementation: its worst and best case against the compiled reference."""
    times: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        times[row["operation"], row["case"]][row["form"]] = row["ms"]["p50"]
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (operation, _), forms in times.items():
        for form, ms in forms.items():
            if form not in ("reference", "compiled reference") and "compiled reference" in forms:
                ratios[operation, form].append(forms["compiled reference"] / ms)
    return [
        {
            "operation": operation,
            "form": form,
            "times_faster_than_compiled": [round(min(found), 2), round(max(found), 2)],
            "keep": min(found) > 1,
        }
        for (operation, form), found in ratios.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=f"some of {', '.join(OPERATIONS)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small inputs and few calls, without torch.compile")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    unknown = set(args.operations) - set(OPERATIONS)
    if unknown:
        parser.error(f"no operation {', '.join(sorted(unknown))}; there are {', '.join(OPERATIONS)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch can use no CUDA device here")
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for found in reports(torch.device(args.device), tuple(args.operations) or OPERATIONS, quick=args.quick):
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{found['hardware']}\ncopy {found['copy_gbs']} GB/s, matrix product {found['matrix_tflops']} TFLOP/s")
    for row in found["rows"]:
        print(
            f"{row['operation']:14} {row['case']:44} {row['form']:18} p50 {row['ms']['p50']:9.4f} ms "
            f"{row['gb_per_s']:8.2f} GB/s {row['gflops']:9.2f} GFLOP/s  {100 * row['share_of_floor']:5.1f} % of floor"
        )
    for verdict in found["verdicts"]:
        print(f"{verdict['operation']} {verdict['form']}: {verdict['times_faster_than_compiled']} x compiled")


if __name__ == "__main__":
    main()
