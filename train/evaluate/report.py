"""An evaluation as tables in the paper's layout, and as CSV."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table

from engine.errors import OutputUnwritable
from train.evaluate.config import METRICS
from train.evaluate.run import Evaluation

_LAYOUT = (
    ("Lip synchronization and video quality (columns of Tables 1 and 4)", ("lse_c", "lse_d", "fid")),
    ("Spontaneous motions (columns of Tables 2 and 7)", ("var_p", "ssim_p", "var_e", "ssim_e")),
    ("Expression (columns of Tables 3, 5 and 6)", ("mld", "ssim_e")),
    ("Identity (column of Table 8)", ("csim",)),
    ("Motion against the real video (ours)", ("mouth", "mouth_range", "blinks", "jitter", "landmarks")),
    ("Images against the real video (ours)", ("psnr", "ssim", "perceptual")),
)
_ARROWS = {"higher": " ↑", "lower": " ↓", "real": ""}


def tables(evaluation: Evaluation) -> Group:
    """Tables for a terminal: generated videos beside the ground truth, what was not computed and why, and notes."""
    parts: list[Table] = []
    for title, names in _LAYOUT:
        shown = [name for name in names if name in evaluation.summaries]
        if not shown:
            continue
        table = Table(title=title, title_justify="left")
        table.add_column("videos")
        for name in shown:
            table.add_column(METRICS[name].label + _ARROWS[METRICS[name].better], justify="right")
        table.add_row("generated", *(_number(name, evaluation.summaries[name].generated) for name in shown))
        if any(evaluation.summaries[name].real is not None for name in shown):
            table.add_row("ground truth", *(_number(name, evaluation.summaries[name].real) for name in shown))
        parts.append(table)
    remarks = Table(title="Remarks", title_justify="left", show_header=False)
    rows = [*_remarks(evaluation)]
    for row in rows:
        remarks.add_row(*row)
    return Group(*parts, *([remarks] if rows else []))


def write_csv(evaluation: Evaluation, out: Path) -> tuple[Path, Path]:
    """Write ``summary.csv`` (a line a metric) and ``films.csv`` (a line a pair), unscaled; return their paths.

    Raises:
        OutputUnwritable: the folder is full or forbidden.
    """
    summary, videos = out / "summary.csv", out / "films.csv"
    names = [name for name in METRICS if name in evaluation.summaries]
    lines: list[Sequence[object]] = [("metric", "generated", "real", "films", "not computed")]
    for name in names:
        figures = evaluation.summaries[name]
        lines.append((name, figures.generated, "" if figures.real is None else figures.real, figures.videos, ""))
    lines += [(name, "", "", 0, reason) for name, reason in evaluation.not_computed.items()]
    per_video = [name for name in names if name != "fid"]
    rows: list[Sequence[object]] = [("film", "frames", *per_video, *(f"real_{name}" for name in per_video), "refused")]
    for pair in evaluation.pairs:
        values = [side.get(name, "") for side in (pair.generated, pair.real) for name in per_video]
        rows.append((pair.name, pair.frames, *values, ""))
    blank = [""] * (2 * len(per_video))
    rows += [(name, 0, *blank, reason) for name, reason in evaluation.refused.items()]
    _write(summary, lines)
    _write(videos, rows)
    return summary, videos


def _remarks(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    videos = len(evaluation.pairs)
    yield (
        "compared",
        f"{videos} pair{'s' if videos != 1 else ''}, {sum(p.frames for p in evaluation.pairs)} frames",
    )
    for name, reason in evaluation.refused.items():
        yield "left out", f"{name}: {reason}"
    for name, reason in evaluation.not_computed.items():
        yield "not computed", f"{METRICS[name].label}: {reason}"
    for note in evaluation.notes:
        yield "note", note


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    metric = METRICS[name]
    return f"{value * metric.scale:.{metric.digits}f}"


def _write(path: Path, lines: Sequence[Sequence[object]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    except OSError as error:
        raise OutputUnwritable(f"{path} cannot be written: {error.strerror}; choose another --out") from error
