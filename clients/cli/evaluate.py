"""``gohd evaluate``: generated videos against the real ones of the same names."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

_log = logging.getLogger(__name__)


def evaluate(
    generated: Annotated[Path, typer.Argument(metavar="GENERATED", help="Folder of generated videos.")],
    real: Annotated[Path, typer.Argument(metavar="REAL", help="Folder of the real videos, under the same names.")],
    metrics: Annotated[
        str, typer.Option(metavar="NAMES", help="Comma-separated: lse_c, lse_d, fid, var_p, ssim_p, ...; or all.")
    ] = "all",
    pretrained: Annotated[
        Path | None,
        typer.Option(
            "--pretrained",
            "--experts",
            metavar="DIR",
            help="Folder of the pretrained networks' files (train/README.md names their sources).",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables, plots and cached features.")] = Path(
        "runs/evaluation"
    ),
) -> None:
    """Measure the videos in GENERATED against those in REAL with the paper's metrics."""
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from engine.errors import MissingDependency
    from train.evaluate import EvaluateConfig, parse_metrics, tables, write_csv
    from train.evaluate import evaluate as run

    # Videos are decoded and networks are run in turn: more threads than two only wait for each other.
    torch.set_num_threads(min(2, torch.get_num_threads()))
    names = parse_metrics(metrics)
    config = EvaluateConfig(generated=generated, real=real, metrics=names, pretrained=pretrained, out=out)
    columns = (TextColumn("{task.description:24.24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        row = bar.add_task("videos", total=None)
        evaluation = run(config, lambda done, of, what: bar.update(row, completed=done, total=of, description=what))
    Console().print(tables(evaluation))
    written = list(write_csv(evaluation, out))
    try:
        from train.evaluate.plots import write_plots

        written += write_plots(evaluation, out)
    except MissingDependency as error:
        _log.warning("no plots: %s", error)
    _log.info("wrote %s", ", ".join(map(str, written)))
