"""Plots of an evaluation: every metric video by video, and the motion of the first pairs."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import MissingDependency
from engine.timebase import FRAME_RATE_HZ
from train.evaluate.config import METRICS
from train.evaluate.run import Evaluation

_COLUMNS = 4
_TRACES = 4
_GENERATED, _REAL = "#0072B2", "#D55E00"


def write_plots(evaluation: Evaluation, out: Path) -> tuple[Path, Path]:
    """Write ``metrics.png`` and ``motion.png``; return their paths.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    figure_class = _figure_class()
    metrics, motion = out / "metrics.png", out / "motion.png"
    _metric_dots(evaluation, figure_class).savefig(metrics, dpi=120)
    _motion_curves(evaluation, figure_class).savefig(motion, dpi=120)
    return metrics, motion


def _metric_dots(evaluation: Evaluation, figure_class: Any) -> Any:
    names = [name for name in METRICS if any(name in pair.generated for pair in evaluation.pairs)]
    columns = max(1, min(_COLUMNS, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure = figure_class(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    place = np.arange(len(evaluation.pairs))
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        metric = METRICS[name]
        for colour, marker, label, sides in (
            (_REAL, "o", "real", [pair.real for pair in evaluation.pairs]),
            (_GENERATED, "x", "generated", [pair.generated for pair in evaluation.pairs]),
        ):
            values = np.array([side.get(name, np.nan) for side in sides]) * metric.scale
            if np.isfinite(values).any():
                axes.scatter(place, values, color=colour, marker=marker, s=18, label=label)
        axes.set_title(metric.label, fontsize=9)
        axes.set_xticks(place[:12], [pair.name[:14] for pair in evaluation.pairs[:12]], rotation=60, fontsize=5)
        axes.tick_params(axis="y", labelsize=7)
        if index == 0:
            axes.legend(fontsize=7)
    return figure


def _motion_curves(evaluation: Evaluation, figure_class: Any) -> Any:
    traces = evaluation.traces[:_TRACES]
    figure = figure_class(figsize=(12, 2.6 * len(traces)), layout="constrained")
    for row, trace in enumerate(traces):
        seconds = np.arange(len(trace.mouth[0])) / FRAME_RATE_HZ
        curves = (
            ("mouth opening, face units", trace.mouth),
            ("head pitch, rad", tuple(pose[:, 0] for pose in trace.pose)),
            ("head yaw, rad", tuple(pose[:, 1] for pose in trace.pose)),
        )
        for column, (label, (generated, real)) in enumerate(curves):
            axes = figure.add_subplot(len(traces), len(curves), row * len(curves) + column + 1)
            axes.plot(seconds, real, color=_REAL, linewidth=1, label="real")
            axes.plot(seconds, generated, color=_GENERATED, linewidth=1, label="generated")
            axes.set_title(f"{trace.name}: {label}", fontsize=8)
            axes.tick_params(labelsize=7)
            if row == 0 and column == 0:
                axes.legend(fontsize=7)
    return figure


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependency("plots need matplotlib: pip install 'gohd-live[evaluate]'") from error
    return Figure
