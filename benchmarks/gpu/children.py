"""Programs that the GPU suite starts, each in a process of its own, so that a crash of one leaves the others."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent.parent
_LAST_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A module that is run with ``--json OUT``, and with ``--device`` and, in a quick suite, ``--quick``.

    Attributes:
        arguments: more options, left out in a quick suite.
        most_s: seconds after which the process is ended.
        needs_cuda: the module runs on CUDA only, and takes neither ``--device`` nor ``--quick``.
    """

    name: str
    module: str
    most_s: float
    arguments: tuple[str, ...] = ()
    needs_cuda: bool = False


CHILDREN = (
    Child(name="sessions", module="benchmarks.sessions", most_s=180, arguments=("--preset", "paper")),
    Child(name="kernels", module="benchmarks.ops", most_s=90),
    Child(
        name="sanitizer",
        module="benchmarks.gpu.sanitize",
        most_s=150,
        arguments=("--tools", "memcheck,racecheck"),
        needs_cuda=True,
    ),
)


def children(
    device: str, *, quick: bool, budget_s: float, which: tuple[Child, ...] = CHILDREN
) -> tuple[list[dict[str, Any]], list[dict[str, str]], list[dict[str, str]]]:
    """Run them; the reports as ``{"name", "seconds", "report"}``, what was not run with the reason, what failed with
    its last words.
    """
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    failed: list[dict[str, str]] = []
    ends_s = time.perf_counter() + budget_s
    for child in which:
        left_s = ends_s - time.perf_counter()
        if child.needs_cuda and device != "cuda":
            skipped.append({"what": child.name, "reason": "needs a CUDA device"})
        elif left_s <= 0:
            skipped.append({"what": child.name, "reason": "the time of the suite was spent"})
        else:
            began_s = time.perf_counter()
            report, reason = _run(child, device, quick, min(left_s, child.most_s))
            if reason is not None:
                failed.append({"what": child.name, "traceback": reason})
            if report is not None:
                seconds = round(time.perf_counter() - began_s, 1)
                rows.append({"name": child.name, "seconds": seconds, "report": report})
    return rows, skipped, failed


def _run(child: Child, device: str, quick: bool, most_s: float) -> tuple[Any, str | None]:
    """The report and what went wrong, either of which may be None; a failed child may have written one."""
    with tempfile.TemporaryDirectory(prefix="gohd-bench-") as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", child.module, "--json", str(out)]
        if not child.needs_cuda:
            command += ["--device", device, *(["--quick"] if quick else [])]
        command += [] if quick else child.arguments
        try:
            done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=most_s, check=False)
            last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
            reason = f"ended with {done.returncode}: {last}" if done.returncode else None
        except subprocess.TimeoutExpired:
            reason = f"took longer than {most_s:.0f} s"
        try:
            return json.loads(out.read_text(encoding="utf-8")), reason
        except (OSError, ValueError):
            return None, reason or "wrote no report"
