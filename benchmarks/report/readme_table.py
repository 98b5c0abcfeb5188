"""The measured tables of README.md, from the newest files of benchmarks/results.

    python -m benchmarks.report.readme_table            writes what lies between the markers
    python -m benchmarks.report.readme_table --check    says whether it is in step; exit code 1 if not

A result is named THEME-HARDWARE-DATE.json. Of each theme and hardware the newest is shown; quick runs never are.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent.parent
_BEGIN, _END = "<!-- measured: python -m benchmarks.report.readme_table -->", "<!-- /measured -->"
_NAME = re.compile(r"(?P<theme>latency|sessions|gpu)-(?P<hardware>.+)-(?P<date>\d{4}-\d\d-\d\d)\.json")
_STAGES = {
    "audio": "resample, mel, voice detector",
    "lip": "lips",
    "eye": "eyes",
    "pose": "head pose, every third frame",
    "mixer": "mixer",
    "animator": "animator",
    "finish": "label and watermark",
    "encode": "H.264",
}
_WIDTH = 125


def newest(results: Path) -> list[tuple[str, Path, dict[str, Any]]]:
    """Theme, file and report of the newest result for each theme and hardware."""
    found: dict[tuple[str, str], tuple[str, Path]] = {}
    for path in sorted(results.glob("*.json")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        kind, date = (match["theme"], match["hardware"]), match["date"]
        if kind not in found or date > found[kind][0]:
            found[kind] = date, path
    order = sorted(found, key=lambda kind: (list(_TABLES).index(kind[0]), kind[1]))
    reports = ((kind[0], found[kind][1], json.loads(found[kind][1].read_text(encoding="utf-8"))) for kind in order)
    return [(theme, path, report) for theme, path, report in reports if not report.get("quick")]


def filled(readme: str, results: Path) -> str:
    """``readme`` with the tables of ``results`` between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    if readme.count(_BEGIN) != 1 or readme.count(_END) != 1 or readme.index(_BEGIN) > readme.index(_END):
        raise ValueError(f"the README needs the lines {_BEGIN} and {_END}, once each")
    parts = ["\n".join(_TABLES[theme](report, path)) for theme, path, report in newest(results)]
    before, after = readme.split(_BEGIN)[0], readme.split(_END)[1]
    return f"{before}{_BEGIN}\n" + "\n\n".join(parts) + f"\n{_END}{after}"


def _latency(report: dict[str, Any], path: Path) -> Iterator[str]:
    hardware, config = report["hardware"], report["config"]
    threads = hardware["torch_threads"]
    yield from _paragraph(
        f"One live session on {_machine(hardware)}, {config['weights']} weights ({_animator(config)}), "
        f"{threads} torch thread{'s' * (threads != 1)}, {report['frames']} frames: {report['fps']:.0f} frames a second "
        f"with the encoder, {report['animator_fps']:.0f} for the animator alone "
        f"([result](benchmarks/results/{path.name})):"
    )
    yield ""
    yield "| stage | p50 ms | p95 ms | p99 ms |"
    yield "|---|---:|---:|---:|"
    for stage, row in report["stages_ms"].items():
        yield _row(_STAGES.get(stage, stage), *(f"{row[name]:.1f}" for name in ("p50", "p95", "p99")))
    title = f"**audio in to encoded frame out**, look-ahead of {report['lookahead_ms']:.0f} ms included"
    yield _row(title, *(f"{report['latency_ms'][name]:.0f}" for name in ("p50", "p95", "p99")))


def _gpu(report: dict[str, Any], path: Path) -> Iterator[str]:
    yield from _paragraph(
        f"The animator on {_machine(report['hardware'])}, descriptor window to finished image, random weights "
        f"([result](benchmarks/results/{path.name})):"
    )
    yield ""
    yield "| preset | backend | batch | p50 ms | p95 ms | p99 ms | fps | of the matrix ceiling |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for row in report["steps"]:
        times = (f"{row['frame_ms'][name]:.2f}" for name in ("p50", "p95", "p99"))
        share = f"{100 * row['share_of_matrix_ceiling']:.0f} %"
        yield _row(row["preset"], row["backend"], row["batch"], *times, f"{row['fps']:.0f}", share)
    yield ""
    yield "| target | wanted | measured | met |"
    yield "|---|---:|---:|---|"
    for row in report["targets"]:
        met = {None: "not measured", True: "yes", False: "no"}[row["met"]]
        yield _row(row["what"], row["target"], "-" if row["measured"] is None else row["measured"], met)


def _sessions(report: dict[str, Any], path: Path) -> Iterator[str]:
    config = report["config"]
    yield from _paragraph(
        f"Sessions at once at 25 frames a second on {_machine(report['hardware'])}, {config['weights']} weights "
        f"({_animator(config)}), a frame missed {config['slot_ms']:.0f} ms after its audio came "
        f"([result](benchmarks/results/{path.name})):"
    )
    yield ""
    yield "| sessions | missed | least fps | made after p50 ms | p95 ms | p99 ms |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for row in report["levels"]:
        made = row["made_ms"] or {}
        times = (f"{made[name]:.0f}" if made else "-" for name in ("p50", "p95", "p99"))
        yield _row(row["sessions"], f"{100 * row['misses']:.1f} %", f"{row['fps_least']:.1f}", *times)


_TABLES: dict[str, Callable[[dict[str, Any], Path], Iterator[str]]] = {
    "latency": _latency,
    "sessions": _sessions,
    "gpu": _gpu,
}


def _animator(config: dict[str, Any]) -> str:
    """What a live session shows: on fewer than four cores the engine leaves out the network."""
    size = f" at {config['frame_px'][0]} px" if "frame_px" in config else ""
    if config["backend"] == "geometric":
        return f"the guided animator's mesh{size} without its network, as fewer than four cores show it live"
    return f"animator by {config['backend']}{size}"


def _machine(hardware: dict[str, Any]) -> str:
    if "gpu" in hardware:
        return str(hardware["gpu"])
    return f"{hardware['cores']} cores of an {re.sub(r'[(](R|TM)[)]', '', hardware['cpu'])}"


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    readme = _ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = filled(before, _ROOT / "benchmarks" / "results")
    if args.check and before != after:
        sys.exit("README.md is not in step with benchmarks/results: python -m benchmarks.report.readme_table")
    if before != after:
        readme.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
