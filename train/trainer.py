"""The training loop: one class, no framework.

each step:  shares of the batch --> losses --> gradients, averaged over shares --> optimisers --> moving averages
               |   one a micro-batch and process, in lockstep, one optimiser step an update (`Task.updates`)
now and then:  log, evaluation, checkpoint from which a run goes on bit for bit
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.errors import InputError, NonFiniteLoss, OutputUnwritable
from train.checkpointing import Place, load_checkpoint, save_checkpoint
from train.datasets.batch_rng import BatchRng, seed_of
from train.distributed import Processes, open_processes
from train.finite import FiniteWatch
from train.reporting import MetricAverager, Reporter, make_run_folder
from train.shared_norm import share_batch_norms
from train.stopping import StopRequest
from train.tasks.protocol import HasImages, Movable, Task, Update
from train.trainer_config import TrainerConfig

CHECKPOINT = "checkpoint.safetensors"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Where a run ended.

    Attributes:
        losses: each averaged over the last ``log_every`` steps.
        figures: of the last evaluation; empty in all processes but the leader.
        stopped: a signal ended the run before its last step.
    """

    step: int
    seconds: float
    losses: Mapping[str, float]
    figures: Mapping[str, float]
    averaged: Mapping[str, nn.Module]
    stopped: bool


def train(task: Task, config: TrainerConfig, record: str = "") -> TrainingResult:
    """Run a training, or go on with it from the checkpoint in ``config.out``.

    Under torchrun, every process calls this with the same task and config.

    Args:
        record: JSON of the whole run's settings, kept as ``config.json`` beside the checkpoint.

    Raises:
        NonFiniteLoss: names the step, the loss and the batch. Raised when the losses are logged or saved next.
        CommandInvalid: the batch cannot be cut into equal shares.
        OutputUnwritable: a checkpoint or log cannot be written; the last checkpoint is intact.
        WeightsCorrupt: the checkpoint is damaged or of another run.
        BackendUnavailable: the device is not there.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    with open_processes(config.device) as processes, StopRequest() as stop:
        if processes.is_leader:
            make_run_folder(config.out, record)
        processes.wait()
        return _Run(task, config, processes, stop).run()


class _Run:
    """One run in one process."""

    def __init__(self, task: Task, config: TrainerConfig, processes: Processes, stop: StopRequest) -> None:
        self.task, self.config, self.processes, self.stop = task, config, processes, stop
        task.modules.to(processes.device)
        if isinstance(task, Movable):
            task.to(processes.device)
        if processes.size > 1:
            share_batch_norms(task.modules)
        self.averaged: dict[str, nn.Module] = {
            name: copy.deepcopy(task.modules[name]).eval().requires_grad_(False) for name in task.averaged
        }
        self.base_rates = {name: [g["lr"] for g in opt.param_groups] for name, opt in task.optimisers.items()}
        self.metrics, self.watch = MetricAverager(), FiniteWatch()
        self.losses: dict[str, float] = {}
        self.figures: dict[str, float] = {}
        start = self._resume()
        self.step, self.seconds_before, self.started = start.step, start.seconds, time.monotonic()
        self.seconds = start.seconds
        self.reporter = Reporter(
            config.out, config.steps, start, leader=processes.is_leader, tensorboard=config.tensorboard
        )

    @property
    def place(self) -> Place:
        return Place(self.step, self.seconds_before + time.monotonic() - self.started)

    def run(self) -> TrainingResult:
        config = self.config
        saved = -1
        with self.reporter:
            while not (stopped := self._agree_to_stop()) and self.step < config.steps and not self._late():
                rows = self._train_step()
                self.step += 1
                last = self.step == config.steps
                self.reporter.advance(self.step, rows)
                if last or self.step % config.log_every == 0:
                    self._write_losses()
                evaluates = not last and config.evaluate_every > 0 and self.step % config.evaluate_every == 0
                if last or evaluates or self.step % config.checkpoint_every == 0:
                    self._save()  # before an evaluation, which may be long, and be killed
                    saved = self.step
                if evaluates:
                    self._evaluate()
            if saved != self.step:
                self._save()
            stopped = stopped and self.step < config.steps
            if not stopped:
                self._evaluate()
            self.processes.wait()
        place = self.place
        return TrainingResult(place.step, place.seconds, self.losses, self.figures, self.averaged, stopped)

    def _train_step(self) -> int:
        """All updates of one step; the number of rows in its batch."""
        processes, config, step = self.processes, self.config, self.step
        factor = config.rate_factor(step, self.seconds)
        for name, optimiser in self.task.optimisers.items():
            for group, rate in zip(optimiser.param_groups, self.base_rates[name], strict=True):
                group["lr"] = rate * factor
        count = processes.size * config.accumulation
        # Micro-batch by micro-batch, so that the rows of one micro-batch lie together over the processes.
        numbers = [micro * processes.size + processes.rank for micro in range(config.accumulation)]
        rngs = [BatchRng.for_step(config.seed, step, number, count, processes.device) for number in numbers]
        shares = [_Share(rng.index, self.task.updates(rng, step)) for rng in rngs]
        place = 0
        while self._update(shares, place):
            place += 1
        with torch.no_grad():
            processes.copy_from_leader(self.task.modules.buffers())
        self._average()
        return rngs[0].rows

    def _update(self, shares: list[_Share], place: int) -> bool:
        """One optimiser step from the next loss of every share; False when the task has no more."""
        task, config = self.task, self.config
        optimiser, parameters, batches = "", list[nn.Parameter](), list[str]()
        for number, share in enumerate(shares):
            update = self._next(share, place)
            if number and (update.optimiser if update else "") != optimiser:
                raise RuntimeError("the shares of a step must yield the same updates in the same order")
            if update is None:
                continue
            if number == 0:
                optimiser = update.optimiser
                task.optimisers[optimiser].zero_grad(set_to_none=True)
                groups = task.optimisers[optimiser].param_groups
                parameters = [p for group in groups for p in group["params"] if p.requires_grad]
            self.watch.add(self.step, f"loss of '{optimiser}'", update.loss, update.batch, update.log)
            batches.append(update.batch)
            (update.loss / config.accumulation).backward(inputs=parameters)  # type: ignore[no-untyped-call]
            self.metrics.add({f"{optimiser}/{key}": part for key, part in update.log.items()})
            self.metrics.add({f"{optimiser}/loss": update.loss})
        if not optimiser:
            return False
        self._agree_on_gradients(parameters)
        self.processes.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm or math.inf)
        self.watch.add(self.step, f"gradient of '{optimiser}'", norm, "; ".join(batches))
        task.optimisers[optimiser].step()
        return True

    def _next(self, share: _Share, place: int) -> Update | None:
        """A share's next update, with randomness of its own in the networks (dropout)."""
        torch.manual_seed(seed_of(self.config.seed, self.step, place, share.index))
        half = self.config.precision == "bf16"
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=half):
            return next(share.updates, None)

    def _agree_on_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Give every process a gradient for what has one in any."""
        if self.processes.size == 1:
            return
        wanted = self.processes.largest([float(p.grad is not None) for p in parameters])
        for parameter, present in zip(parameters, wanted, strict=True):
            if present and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def _check_finite(self) -> None:
        """End all processes if a loss or gradient was not finite in any, before anything of it is written."""
        found = self.watch.look(self.processes)
        if found is None:
            return
        several = self.processes.size > 1
        texts = enumerate(found.reasons)
        reasons = "".join(f"process {rank}: {text}" if several else text for rank, text in texts if text)
        saved = self.config.out / CHECKPOINT
        left = f"the checkpoint {saved} is intact" if saved.is_file() else "there is no checkpoint yet"
        raise NonFiniteLoss(f"step {found.step}: {reasons}{left}; look at these clips, or try a lower learning rate")

    def _agree_to_stop(self) -> bool:
        """Whether any process was asked to stop; brings all processes to the latest of their clocks, too."""
        asked, self.seconds = self.processes.largest([float(self.stop.asked), self.place.seconds])
        return bool(asked)

    def _late(self) -> bool:
        return 0 < 60 * self.config.minutes < self.seconds

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (2 + self.step) / (11 + self.step))
        for name, module in self.averaged.items():
            values = self.task.modules[name].state_dict().values()
            for mean, value in zip(module.state_dict().values(), values, strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)

    def _write_losses(self) -> None:
        self._check_finite()
        self.losses = self.metrics.read(self.processes)
        rates = {name: opt.param_groups[0]["lr"] for name, opt in self.task.optimisers.items()}
        self.reporter.losses(self.place, self.losses, rates)

    def _evaluate(self) -> None:
        if self.processes.is_leader:
            self.figures = self.task.evaluate(self.averaged)
            images = {}
            if self.reporter.wants_images and isinstance(self.task, HasImages):
                images = self.task.images(self.averaged)
            self.reporter.figures(self.place, self.figures, images)

    def _save(self) -> None:
        self._check_finite()
        metrics = self.metrics.state(self.processes)
        problem: OutputUnwritable | None = None
        if self.processes.is_leader:
            try:
                save_checkpoint(self.config.out / CHECKPOINT, self.place, self.task, self.averaged, metrics)
            except OutputUnwritable as error:
                problem = error
        told = self.processes.texts(str(problem or ""))[0]
        if told:
            raise problem or OutputUnwritable(told)

    def _resume(self) -> Place:
        """Load the checkpoint if there is one; make sure that all processes begin alike."""
        path, processes = self.config.out / CHECKPOINT, self.processes
        place = Place()
        if path.is_file():
            place, metrics = load_checkpoint(path, self.task, self.averaged)
            self.metrics.load(metrics, processes.device)
            _log.info("resuming %s at step %d", path, place.step)
        steps = processes.texts(str(place.step))
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes find checkpoints of steps {', '.join(steps)}: trainer.out must be a folder that all see"
            )
        with torch.no_grad():
            processes.copy_from_leader(self.task.modules.state_dict().values())
        return place


@dataclass(frozen=True, slots=True)
class _Share:
    """One share of one step."""

    index: int
    updates: Iterator[Update]


def config_json(config: Any) -> str:
    """A config dataclass as JSON, for the record of a run."""
    return json.dumps(dataclasses.asdict(config), default=str, indent=1)
