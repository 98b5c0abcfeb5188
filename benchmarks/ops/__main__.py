"""Every operation of `kernels` against its memory or compute floor, and which implementation ought to be taken.

    python -m benchmarks.ops [--device cpu|cuda] [--quick] [--json OUT] [OPERATION ...]

``floor`` is the larger of bytes over the speed of a copy and operations over that of a matrix product, both measured in
the same run; a share of 1 is as fast as the device could be. ``verdicts`` compares with the compiled reference: what
does not beat it in every case belongs out of the project, what does belongs in `kernels.choice.MEASURED`.
"""

import argparse
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.ops.measuring import measured
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import Ceilings

OPERATIONS = ("backward_warp", "warp_blend", "fir_resample", "conv_epilogue", "yuv420")


def _measure(args: argparse.Namespace) -> Iterator[Report]:
    unknown = set(args.operations) - set(OPERATIONS)
    if unknown:
        sys.exit(f"no operation {', '.join(sorted(unknown))}; there are {', '.join(OPERATIONS)}")
    torch.set_num_threads(1)
    device = torch.device(args.device)
    ceilings = Ceilings.measured(device, quick=args.quick)
    calls, budget_s = (3, 0.3) if args.quick else (200, 0.5)
    rows: list[Report] = []
    for operation in args.operations or OPERATIONS:
        for case in importlib.import_module(f"benchmarks.ops.{operation}").cases(device, quick=args.quick):
            # Compiling takes seconds for each case; a quick run only shows that all of it runs.
            rows += measured(case, device, ceilings, calls=calls, budget_s=budget_s, compiled=not args.quick)
        yield {
            "quick": args.quick,
            "copy_gbs": ceilings.copy_gbs,
            "matrix_tflops": ceilings.matrix_tflops,
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


def _show(report: Report) -> None:
    print(f"{report['hardware']}\ncopy {report['copy_gbs']} GB/s, matrix product {report['matrix_tflops']} TFLOP/s")
    for row in report["rows"]:
        print(
            f"{row['operation']:14} {row['case']:44} {row['form']:18} p50 {row['ms']['p50']:9.4f} ms "
            f"{row['gb_per_s']:8.2f} GB/s {row['gflops']:9.2f} GFLOP/s  {100 * row['share_of_floor']:5.1f} % of floor"
        )
    for verdict in report["verdicts"]:
        print(f"{verdict['operation']} {verdict['form']}: {verdict['times_faster_than_compiled']} x compiled")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=f"some of {', '.join(OPERATIONS)}")
    parser.add_argument("--quick", action="store_true", help="small inputs and few calls, without torch.compile")


if __name__ == "__main__":
    devices = ("cuda", "cpu") if torch.cuda.is_available() else ("cpu", "cuda")
    run_benchmark(__doc__, _measure, _options, show=_show, devices=devices)
