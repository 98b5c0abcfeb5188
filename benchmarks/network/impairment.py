"""Our server and bare aiortc on the same bad networks, watched by the same Chromium (Linux, root).

    python -m benchmarks.network.impairment [--cells "loss 1 %,clean"] [--seconds 20] [--senders ours,bare] [--json OUT]

``gohd serve``, or ``bare_sender.py`` with a video that the same engine made, runs in one network namespace, the viewer
in another; ``impaired_path.py`` lies between. Each cell: 4 s of a perfect path, the impairment, 6 s of a perfect path.
With ``--json`` cells that are in the file already stay there, so that a matrix can be measured in parts; a Markdown
table goes beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.network.impaired_path import (
    ADDRESSES,
    ImpairedPath,
    Impairment,
    inside,
    open_path,
    unavailable_reason,
)
from benchmarks.network.playback_stats import playback_stats
from benchmarks.report.command import Report, run_benchmark
from engine.assets import PORTRAIT, VOICE
from tests.server_process import GOHD, ServerProcess

_LEAD_S, _TAIL_S = 4.0, 6.0
_ROOT = Path(__file__).resolve().parents[2]
_PORTS = {"ours": 8080, "bare": 8081}


@dataclass(frozen=True, slots=True)
class Cell:
    """``seconds`` is how long the impairment lasts; None is as long as asked for."""

    impairment: Impairment
    seconds: float | None = None


CELLS = {
    "clean": Cell(Impairment()),
    "loss 1 %": Cell(Impairment(loss=0.01)),
    "loss 5 %": Cell(Impairment(loss=0.05)),
    "loss 10 %": Cell(Impairment(loss=0.10)),
    "loss 30 %": Cell(Impairment(loss=0.30)),
    "0.4 Mbit/s": Cell(Impairment(rate_bps=400e3)),
    "2 Mbit/s": Cell(Impairment(rate_bps=2e6)),
    "delay 100 +- 30 ms": Cell(Impairment(delay_s=0.1, jitter_s=0.03)),
    "outage of 3 s": Cell(Impairment(down=True), seconds=3.0),
}


def measure_cell(
    path: ImpairedPath,
    url: str,
    cell: Cell,
    seconds: float,
    *,
    lead_s: float = _LEAD_S,
    tail_s: float = _TAIL_S,
    notes: Path | None = None,
) -> dict[str, Any]:
    """One viewer's figures of one cell, with a perfect path for so long before and after it.

    What the viewer noted goes to the file ``notes``.
    """
    lasts_s = cell.seconds or seconds
    program = [sys.executable, "-m", "benchmarks.network.browser_viewer", url]
    program += ["--seconds", str(lead_s + lasts_s + tail_s)]
    viewer = subprocess.Popen(inside("b", *program), cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert viewer.stdout is not None
    try:
        assert viewer.stdout.readline() == "watching\n", "the viewer saw no frame"
        time.sleep(lead_s)
        begin_s, sent = time.time(), path.bytes_from_a
        path.impairment = cell.impairment
        queue_s = 0.0
        while time.time() < begin_s + lasts_s:
            time.sleep(0.05)
            queue_s = max(queue_s, path.queue_s)
        end_s, sent = time.time(), path.bytes_from_a - sent
        path.impairment = Impairment()
        report = json.loads(viewer.stdout.readline())
    finally:
        path.impairment = Impairment()
        if sys.exc_info()[0] is not None:
            viewer.terminate()
        viewer.wait(20)
        viewer.stdout.close()
    if notes is not None:
        notes.write_text(json.dumps({"begin_s": begin_s, "end_s": end_s} | report), encoding="utf-8")
    figures = asdict(playback_stats(report, begin_s, end_s))
    last = report["samples"][-1]["video"]
    figures["sent_kbps"] = round(8e-3 * sent / (end_s - begin_s))
    figures["longest_queue_ms"] = round(1e3 * queue_s)
    figures |= {"nacks": last["nackCount"], "plis": last["pliCount"], "keyframes": last["keyFramesDecoded"]}
    return figures


def _sender(name: str, video: Path | None) -> ServerProcess:
    """A sender in namespace ``a``."""
    if name == "ours":
        program, arguments = GOHD, ["serve", "--insecure"]
    else:
        program, arguments = "from benchmarks.network.bare_sender import main; main()", [str(video)]
    address = ["--host", ADDRESSES["a"], "--port", str(_PORTS[name])]
    return ServerProcess(*arguments, *address, program=program, wrap=partial(inside, "a"))


def _make_video(folder: Path) -> Path:
    video = folder / "video.mp4"
    command = [sys.executable, "-c", GOHD, "render", str(PORTRAIT), str(VOICE), "-o", str(video)]
    subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
    return video


_COLUMNS = {
    "sender": "sender",
    "fps": "fps",
    "longest_freeze_ms": "longest freeze, ms",
    "frozen_share": "frozen",
    "latency_p50_ms": "latency p50, ms",
    "latency_p95_ms": "p95",
    "latency_max_ms": "worst",
    "skew_p50_ms": "audio - image p50, ms",
    "skew_worst_ms": "worst",
    "recovery_s": "recovery, s",
    "audio_concealed_share": "audio concealed",
    "sent_kbps": "sent, kbit/s",
}


def make_table(cells: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The matrix as Markdown."""
    lines = ["| path | " + " | ".join(_COLUMNS.values()) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for cell in CELLS:
        for sender, figures in cells.get(cell, {}).items():
            values = [_show(name, {"sender": sender, **figures}[name]) for name in _COLUMNS]
            lines.append(f"| {cell} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def _show(name: str, value: Any) -> str:
    if value is None:
        return "none" if name == "recovery_s" else "-"
    return f"{100 * value:.1f} %" if name.endswith("_share") else str(value)


def _measure(args: argparse.Namespace) -> Iterator[Report]:
    if (reason := unavailable_reason()) is not None:
        sys.exit(f"cannot make a bad network: {reason}")
    names = [name.strip() for name in args.cells.split(",") if name] or list(CELLS)
    known = args.json is not None and args.json.is_file()
    cells = json.loads(args.json.read_text(encoding="utf-8"))["cells"] if known else {}
    with tempfile.TemporaryDirectory() as folder, open_path(args.seed) as path:
        video = args.video
        if video is None and "bare" in args.senders:
            video = _make_video(Path(folder))
        for sender in args.senders.split(","):
            with _sender(sender, video) as server:
                for name in names:
                    notes = args.notes and args.notes / f"{sender} {name.replace('/', ' per ')}.json"
                    figures = measure_cell(path, f"{server.url}/whep", CELLS[name], args.seconds, notes=notes)
                    cells.setdefault(name, {})[sender] = figures
                    print(name, sender, json.dumps(figures), flush=True)
                    yield {"seconds": args.seconds, "cells": cells}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cells", default="", help=f"all, or some of: {', '.join(CELLS)}".replace("%", "%%"))
    parser.add_argument("--senders", default="ours,bare")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--notes", type=Path, help="a folder for what the viewer noted, frame by frame")
    parser.add_argument("--video", "--film", type=Path, help="what the bare sender plays; made when left out")


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options, markdown=lambda report: make_table(report["cells"]))
