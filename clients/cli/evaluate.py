"""``gohd evaluate``: generated videos against the real ones of the same names."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine.errors import MissingDependency
from train.evaluate import EvaluateConfig, evaluate, parse_metrics, tables, write_csv

_log = logging.getLogger(__name__)


def evaluate_folders(generated: Path, real: Path, metrics: str, experts: Path | None, out: Path) -> None:
    """Print the tables; write CSV and, where matplotlib is installed, plots.

    Raises:
        InputError: nothing to compare. CommandInvalid: no such metric. OutputUnwritable: see the message.
    """
    # Videos are decoded and networks are run in turn: more threads than two only wait for each other.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    config = EvaluateConfig(generated=generated, real=real, metrics=parse_metrics(metrics), experts=experts, out=out)
    columns = (
        TextColumn("{task.description:24.24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        row = bar.add_task("films", total=None)
        evaluation = evaluate(
            config, lambda done, of, what: bar.update(row, completed=done, total=of, description=what)
        )
    Console().print(tables(evaluation))
    written = list(write_csv(evaluation, out))
    try:
        from train.evaluate.plots import write_plots

        written += write_plots(evaluation, out)
    except MissingDependency as error:
        _log.warning("no plots: %s", error)
    _log.info("wrote %s", ", ".join(str(path) for path in written))
