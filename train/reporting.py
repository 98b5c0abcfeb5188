"""Output of a run: means of losses, ``log.jsonl``, TensorBoard, a progress bar with throughput."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from engine.errors import MissingDependency, OutputUnwritable
from engine.files import replacing
from train.checkpointing import Place
from train.distributed import Processes

_log = logging.getLogger(__name__)


def make_run_folder(out: Path, record: str = "") -> None:
    """Make a run's folder, with ``record`` as its ``config.json``.

    Raises:
        OutputUnwritable: forbidden, or the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if record:
            (out / "config.json").write_text(record + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputUnwritable(f"the run's folder {out} cannot be written: {error}; set trainer.out") from error


class MetricAverager:
    """Sums and counts of named scalars since they were last read, kept on the device until then."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count one value of each name."""
        for key, value in values.items():
            one = torch.stack([value.detach().double().reshape(()), value.new_ones((), dtype=torch.double)])
            self._sums[key] = self._sums[key] + one if key in self._sums else one

    def state(self, processes: Processes) -> dict[str, Tensor]:
        """[sum, count] of each name, averaged over the processes, which then all hold the same."""
        if self._sums:
            sums = processes.mean(torch.stack(list(self._sums.values())))
            self._sums = dict(zip(self._sums, sums.unbind(), strict=True))
        return dict(self._sums)

    def load(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Continue from the `state` of a checkpoint."""
        self._sums = {key: value.to(device) for key, value in state.items()}

    def read(self, processes: Processes) -> dict[str, float]:
        """Means over steps and processes; starts anew."""
        state = self.state(processes)
        self._sums.clear()
        if not state:
            return {}
        totals = torch.stack(list(state.values())).cpu()
        return dict(zip(state, (totals[:, 0] / totals[:, 1]).tolist(), strict=True))


class Reporter:
    """Writes as the leader; the other processes' reporters do nothing.

    Raises:
        MissingDependency: TensorBoard is asked for and not installed.
    """

    def __init__(self, out: Path, steps: int, start: Place, *, leader: bool, tensorboard: bool) -> None:
        self._leader = leader
        self._path = out / "log.jsonl"
        self._steps = steps
        self._writer = _tensorboard(out, start) if leader and tensorboard else None
        console = Console(stderr=True)
        self._terminal = leader and console.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} rows/s"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not self._terminal)
        self._row = self._bar.add_task("training", total=steps, completed=start.step, rate=0.0)
        self._rows, self._since, self._rate = 0, time.monotonic(), 0.0
        if leader:
            self._drop_after(start.step)

    def __enter__(self) -> Reporter:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._writer is not None:
            self._writer.close()

    def advance(self, step: int, rows: int) -> None:
        """One step of a batch of ``rows`` is done."""
        self._rows += rows
        self._bar.update(self._row, completed=step)

    def losses(self, place: Place, values: Mapping[str, float], rates: Mapping[str, float]) -> None:
        """Means since the last call, learning rates, and the throughput between the two calls."""
        now = time.monotonic()
        self._rate = self._rows / max(now - self._since, 1e-9)
        self._rows, self._since = 0, now
        extra = {f"rate/{name}": rate for name, rate in rates.items()} | {"rows_per_s": self._rate}
        self._write(place, {**values, **extra})
        text = " ".join(f"{key} {value:.3f}" for key, value in list(values.items())[:2])
        self._bar.update(self._row, description=text, rate=self._rate)
        if self._leader and not self._terminal:
            left = (self._steps - place.step) * place.seconds / max(place.step, 1)
            _log.info("step %d of %d: %s, %.1f rows/s, %.0f s left", place.step, self._steps, text, self._rate, left)

    def figures(self, place: Place, values: Mapping[str, float], images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Held-out figures, and images (H,W,3) for TensorBoard."""
        self._write(place, values)
        if self._writer is not None:
            for name, image in images.items():
                self._writer.add_image(name, image, place.step, dataformats="HWC")

    @property
    def wants_images(self) -> bool:
        """Whether there is anywhere to show images."""
        return self._writer is not None

    def _write(self, place: Place, values: Mapping[str, float]) -> None:
        if not self._leader:
            return
        line: dict[str, float] = {"step": place.step, "seconds": round(place.seconds, 1)}
        line |= {key: float(f"{value:.7g}") for key, value in values.items()}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._unwritable(error) from error
        if self._writer is not None:
            for key, value in values.items():
                self._writer.add_scalar(key, value, place.step)

    def _drop_after(self, step: int) -> None:
        """Forget what a killed run logged after the checkpoint from which this one goes on."""
        if not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            try:
                with replacing(self._path) as partial:
                    partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputUnwritable:
        return OutputUnwritable(
            f"{self._path} cannot be written: {error}. The last checkpoint beside it is intact: "
            "make room and give the same command again"
        )


def _step_of(line: str) -> float:
    """A log line's step; a line that was cut off counts as later than all."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _tensorboard(out: Path, start: Place) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependency("trainer.tensorboard needs TensorBoard: pip install 'gohd-live[train]'") from error
    return SummaryWriter(str(out), purge_step=start.step + 1 if start.step else None)
