"""compute-sanitizer over every kernel, on the odd shapes of its tests.

    python -m benchmarks.gpu.sanitize [--tools memcheck,racecheck,initcheck,synccheck] [--json OUT]

Runs `pytest -m gpu tests/kernels` under each tool, without torch's caching of memory, which would hide places outside a
tensor. Ends with 0 where all are clean, 1 where one is not, and 77, with the reason, where there is no card or no tool
(`pip install nvidia-cuda-sanitizer-api`, or the CUDA toolkit).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch

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


def run(tool: str, program: str, root: Path) -> dict[str, object]:
    """One tool; ``clean`` is whether neither it nor a test found anything."""
    command = [
        program, "--tool", tool, "--error-exitcode", str(_FOUND), "--target-processes", "all",
        sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--timeout=0",
        "-k", "card", "tests/kernels",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=root,
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=",".join(TOOLS), help="some of them, with commas between")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    tools = args.tools.split(",")
    if set(tools) - set(TOOLS):
        parser.error(f"the tools are {', '.join(TOOLS)}")
    program = sanitizer()
    reason = None
    if not torch.cuda.is_available():
        reason = "torch can use no CUDA device here"
    elif program is None:
        reason = "compute-sanitizer is not here: pip install nvidia-cuda-sanitizer-api"
    rows: list[dict[str, object]] = []
    _write(args.json, reason, rows)
    if program is None or reason is not None:
        print(f"skipped: {reason}")
        return SKIPPED
    for tool in tools:
        rows.append(run(tool, program, Path(__file__).resolve().parent.parent.parent))
        print(f"{tool}: {'clean' if rows[-1]['clean'] else rows[-1]['output']}")
        _write(args.json, reason, rows)
    return 0 if all(row["clean"] for row in rows) else 1


def _write(path: Path | None, reason: str | None, rows: list[dict[str, object]]) -> None:
    """After each tool, so that a run that is cut short leaves what it has."""
    if path is not None:
        path.write_text(json.dumps({"skipped": reason, "tools": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
