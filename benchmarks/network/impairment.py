"""Our server and bare aiortc on the same bad networks, watched by the same Chromium (Linux, root).

    python benchmarks/network/impairment.py [--cells loss-1,thin] [--seconds 20] [--senders ours,bare] [--json OUT]

``gohd serve``, or ``bare_sender.py`` with a video that the same engine made, runs in one network namespace, the viewer
in another; ``impaired_path.py`` lies between. Each cell: 4 s of a perfect path, the impairment, 6 s of a perfect path.
With ``--json`` cells that are in the file already stay there, so that a matrix can be measured in parts; a Markdown
table goes beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from impaired_path import ADDRESSES, ImpairedPath, Impairment, inside, open_path, why_not
from latency import hardware, versions
from rich.console import Console
from viewing import look_at

from engine.assets import PORTRAIT, VOICE

_LEAD_S, _TAIL_S = 4.0, 6.0
_HERE = Path(__file__).resolve().parent
_PORTS = {"ours": 8080, "bare": 8081}
_GOHD = (sys.executable, "-u", "-c", "from clients.cli import main; main()")


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
    program = [sys.executable, str(_HERE / "browser_viewer.py"), url]
    program += ["--seconds", str(lead_s + lasts_s + tail_s)]
    viewer = subprocess.Popen(inside("b", *program), stdout=subprocess.PIPE, text=True)
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
    figures = asdict(look_at(report, begin_s, end_s))
    last = report["samples"][-1]["video"]
    figures["sent_kbps"] = round(8e-3 * sent / (end_s - begin_s))
    figures["longest_queue_ms"] = round(1e3 * queue_s)
    figures |= {"nacks": last["nackCount"], "plis": last["pliCount"], "keyframes": last["keyFramesDecoded"]}
    return figures


@contextlib.contextmanager
def _sender(name: str, video: Path) -> Iterator[str]:
    """The WHEP address of a sender that runs in namespace ``a`` until the block ends."""
    host, port = ADDRESSES["a"], _PORTS[name]
    if name == "ours":
        program = [*_GOHD, "serve", "--insecure"]
        ready = "Ready"
    else:
        program = [sys.executable, "-u", str(_HERE / "bare_sender.py"), str(video)]
        ready = "ready"
    command = inside("a", *program, "--host", host, "--port", str(port))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith(ready):
                break
        yield f"http://{host}:{port}/whep"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _make_video(folder: Path) -> Path:
    video = folder / "film.mp4"
    command = [*_GOHD, "render", str(PORTRAIT), str(VOICE), "-o", str(video)]
    subprocess.run(command, check=True, capture_output=True)
    return video


_COLUMNS = {
    "sender": "sender",
    "fps": "fps",
    "longest_freeze_ms": "longest freeze, ms",
    "frozen_share": "frozen",
    "latency_p50_ms": "latency p50, ms",
    "latency_p95_ms": "p95",
    "latency_max_ms": "worst",
    "skew_p50_ms": "sound - image p50, ms",
    "skew_worst_ms": "worst",
    "recovery_s": "recovery, s",
    "sound_concealed_share": "sound concealed",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="", help=f"all, or some of: {', '.join(CELLS)}")
    parser.add_argument("--senders", default="ours,bare")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--notes", type=Path, help="a folder for what the viewer noted, frame by frame")
    parser.add_argument("--film", type=Path, help="what the bare sender plays; made when left out")
    parser.add_argument("--json", type=Path, help="where to write the report, and a table beside it")
    args = parser.parse_args()
    if (reason := why_not()) is not None:
        sys.exit(f"cannot make a bad network: {reason}")
    names = [name.strip() for name in args.cells.split(",") if name] or list(CELLS)
    report: dict[str, Any] = {"cells": {}}
    if args.json and args.json.is_file():
        report = json.loads(args.json.read_text(encoding="utf-8"))
    report |= {"hardware": hardware("cpu"), "versions": versions(), "seconds": args.seconds}
    with tempfile.TemporaryDirectory() as folder, open_path(args.seed) as path:
        video = args.video
        if video is None and "bare" in args.senders:
            video = _make_video(Path(folder))
        for sender in args.senders.split(","):
            with _sender(sender, video) as url:
                for name in names:
                    notes = args.notes and args.notes / f"{sender} {name.replace('/', ' per ')}.json"
                    figures = measure_cell(path, url, CELLS[name], args.seconds, notes=notes)
                    report["cells"].setdefault(name, {})[sender] = figures
                    print(name, sender, json.dumps(figures), flush=True)
    Console().print(make_table(report["cells"]), soft_wrap=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        args.json.with_suffix(".md").write_text(make_table(report["cells"]), encoding="utf-8")


if __name__ == "__main__":
    main()
