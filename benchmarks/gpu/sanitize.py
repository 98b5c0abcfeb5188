"""compute-sanitizer over every kernel, on the odd shapes of its tests.

    python -m benchmarks.gpu.sanitize [--tools memcheck,racecheck,initcheck,synccheck] [--json OUT]

Runs `pytest -m gpu tests/kernels` under each tool, without torch's caching of memory, which would hide places outside a
tensor. Ends with 0 where all are clean, 1 where one is not, and 77, with the reason, where there is no card or no tool
(`pip install nvidia-cuda-sanitizer-api`, or the CUDA toolkit).
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.report.command import Report, run_benchmark

_ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SKIPPED = 77
_FOUND = 99


def sanitizer() -> str | None:
    """Where compute-sanitizer is: on the path, in the toolkit, or in NVIDIA's wheel."""
    places = [shutil.which("compute-sanitizer"), "/usr/local/cuda/bin/compute-sanitizer"]
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        places += [str(path) for path in Path(folder).glob("*/bin/compute-sanitizer")]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


def run(tool: str, program: str) -> Report:
    """One tool; ``clean`` is whether neither it nor a test found anything."""
    command = [
        program, "--tool", tool, "--error-exitcode", str(_FOUND), "--target-processes", "all",
        sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--timeout=0",
        "-k", "card", "tests/kernels",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    ran = " passed" in done.stdout
    return {
        "tool": tool,
        "clean": done.returncode == 0 and ran,
        "output": (done.stdout + done.stderr)[-4000:],
    }


def _measure(args: argparse.Namespace) -> Iterator[Report]:
    unknown = set(args.tools.split(",")) - set(TOOLS)
    if unknown:
        sys.exit(f"the tools are {', '.join(TOOLS)}")
    program = sanitizer()
    if not torch.cuda.is_available():
        yield {"skipped": "torch can use no CUDA device here", "tools": []}
    elif program is None:
        yield {"skipped": "compute-sanitizer is not here: pip install nvidia-cuda-sanitizer-api", "tools": []}
    else:
        rows: list[Report] = []
        for tool in args.tools.split(","):
            rows.append(run(tool, program))
            yield {"skipped": None, "tools": rows}


def _show(report: Report) -> None:
    if report["skipped"]:
        print(f"skipped: {report['skipped']}")
    for row in report["tools"]:
        print(f"{row['tool']}: {'clean' if row['clean'] else row['output']}")


def main() -> int:
    """Run it; the exit code."""
    report = run_benchmark(
        __doc__,
        _measure,
        lambda parser: parser.add_argument(
            "--tools", default=",".join(TOOLS), help="some of them, with commas between"
        ),
        show=_show,
    )
    return SKIPPED if report["skipped"] else int(not all(row["clean"] for row in report["tools"]))


if __name__ == "__main__":
    sys.exit(main())
