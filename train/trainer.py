"""The training loop: one file, no framework.

A task yields (optimiser, loss) pairs; the loop checks each loss, steps that optimiser, follows the learning rate
schedule, keeps averaged weights, evaluates, and writes checkpoints from which a run goes on bit for bit.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from train.tasks.protocol import Draw, Task, Update, seed_of

__all__ = ["NonFiniteLoss", "TrainerConfig", "TrainingResult", "train"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """The loop's settings. Learning rates belong to the task; here is how they move: warm-up, then a cosine to zero.

    Attributes:
        minutes: stop early after this much wall time, the cosine following whichever ends first; 0 is no limit.
        threads: CPU threads; 0 leaves torch's choice.
    """

    out: Path
    steps: int = 2000
    minutes: float = 0.0
    seed: int = 0
    warmup_steps: int = 50
    final_rate: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    evaluate_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 20
    threads: int = 0
    tensorboard: bool = False

    @classmethod
    def toy(cls, name: str, steps: int) -> TrainerConfig:
        """A short run in ``runs/NAME`` on one thread, as toy recipes use."""
        return cls(
            out=Path("runs") / name,
            steps=steps,
            warmup_steps=5,
            evaluate_every=steps,
            checkpoint_every=steps,
            log_every=5,
            threads=1,
        )

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps must be at least 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError("ema_decay must be within 0..1, 1 excluded")


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Where a run ended: last losses (each averaged over the last ``log_every`` steps), figures, averaged modules."""

    step: int
    seconds: float
    losses: Mapping[str, float]
    figures: Mapping[str, float]
    averaged: Mapping[str, nn.Module]
    stopped: bool


class NonFiniteLoss(RuntimeError):
    """A loss became NaN or infinite; the last checkpoint is intact."""


def train(task: Task, config: TrainerConfig) -> TrainingResult:
    """Run or resume a training; a checkpoint in ``config.out`` is continued.

    Raises:
        NonFiniteLoss: names the step, the loss and the batch.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    averaged = {
        name: copy.deepcopy(task.modules[name]).eval().requires_grad_(False) for name in task.averaged
    }
    base_rates = {name: [g["lr"] for g in opt.param_groups] for name, opt in task.optimisers.items()}
    checkpoint = config.out / "checkpoint.safetensors"
    step, seconds_before = 0, 0.0
    if checkpoint.is_file():
        step, seconds_before = _load(checkpoint, task, averaged)
        _log.info("resuming %s at step %d", checkpoint, step)
    stop = _StopFlag()
    writer = _tensorboard(config) if config.tensorboard else None
    started = time.monotonic()
    recent: dict[str, list[float]] = {}
    losses: dict[str, float] = {}
    figures: dict[str, float] = {}

    def seconds() -> float:
        return seconds_before + time.monotonic() - started

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with stop, Progress(*columns, transient=True) as bar:
        row = bar.add_task("training", total=config.steps, completed=step)
        while step < config.steps and not stop.asked and not _late(seconds(), config):
            factor = _rate_factor(step, seconds(), config)
            for name, optimiser in task.optimisers.items():
                for group, rate in zip(optimiser.param_groups, base_rates[name], strict=True):
                    group["lr"] = rate * factor
            torch.manual_seed(seed_of(config.seed, step))
            for update in task.updates(Draw.of(config.seed, step), step):
                _apply(update, task, config, step)
                for key, value in {"loss": update.loss, **update.log}.items():
                    recent.setdefault(f"{update.optimiser}/{key}", []).append(float(value.detach()))
            step += 1
            _average(averaged, task.modules, config.ema_decay, step)
            bar.update(row, completed=step)
            if step % config.log_every == 0 or step == config.steps:
                losses = {key: sum(values) / len(values) for key, values in recent.items()}
                recent.clear()
                _write_log(config.out, step, seconds(), losses, writer)
                bar.update(row, description=" ".join(f"{k} {v:.3f}" for k, v in list(losses.items())[:2]))
            if step % config.evaluate_every == 0:
                figures = task.evaluate(averaged)
                _write_log(config.out, step, seconds(), figures, writer)
            if step % config.checkpoint_every == 0:
                _save(checkpoint, task, averaged, step, seconds())
    _save(checkpoint, task, averaged, step, seconds())
    figures = task.evaluate(averaged)
    _write_log(config.out, step, seconds(), figures, writer)
    if not losses and recent:
        losses = {key: sum(values) / len(values) for key, values in recent.items()}
    return TrainingResult(step, seconds(), losses, figures, averaged, stop.asked)


def _apply(update: Update, task: Task, config: TrainerConfig, step: int) -> None:
    if not math.isfinite(float(update.loss.detach())):
        parts = {key: float(value.detach()) for key, value in update.log.items()}
        raise NonFiniteLoss(
            f"step {step}: loss of '{update.optimiser}' is {float(update.loss.detach())} ({parts}); "
            f"batch: {task.describe_batch()}; the last checkpoint is intact, try a lower learning rate"
        )
    optimiser = task.optimisers[update.optimiser]
    optimiser.zero_grad(set_to_none=True)
    update.loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    optimiser.step()


def _late(seconds: float, config: TrainerConfig) -> bool:
    return config.minutes > 0 and seconds > 60 * config.minutes


def _rate_factor(step: int, seconds: float, config: TrainerConfig) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = step / config.steps
    if config.minutes > 0:
        done = max(done, seconds / (60 * config.minutes))
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _average(averaged: Mapping[str, nn.Module], modules: nn.ModuleDict, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, module in averaged.items():
            for mean, value in zip(
                module.state_dict().values(), modules[name].state_dict().values(), strict=True
            ):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)


def _save(
    path: Path,
    task: Task,
    averaged: Mapping[str, nn.Module],
    step: int,
    seconds: float,
) -> None:
    """Everything the run needs to go on, tensors only, replacing the old checkpoint in one step."""
    tensors: dict[str, Tensor] = {f"module.{key}": value for key, value in task.modules.state_dict().items()}
    for name, module in averaged.items():
        tensors |= {f"average.{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in task.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{name}.{index}.{key}": torch.as_tensor(v) for key, v in state.items()}
    partial = path.with_suffix(".partial")
    metadata = {"step": str(step), "seconds": repr(seconds)}
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, partial, metadata)
    partial.replace(path)


def _load(path: Path, task: Task, averaged: Mapping[str, nn.Module]) -> tuple[int, float]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    task.modules.load_state_dict(_under(tensors, "module."))
    for name, module in averaged.items():
        module.load_state_dict(_under(tensors, f"average.{name}."))
    for name, optimiser in task.optimisers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, f"optimiser.{name}.").items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(metadata["step"]), float(metadata["seconds"])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _write_log(out: Path, step: int, seconds: float, values: Mapping[str, float], writer: Any) -> None:
    line = {
        "step": step,
        "seconds": round(seconds, 1),
        **{key: round(value, 5) for key, value in values.items()},
    }
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    if writer is not None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)


def _tensorboard(config: TrainerConfig) -> Any:
    from engine.errors import MissingDependency

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependency("tensorboard is missing: pip install 'gohd-live[train]'") from error
    return SummaryWriter(str(config.out))


class _StopFlag:
    """Ctrl-C and SIGTERM end the run after the current step; a second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _StopFlag:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._ask)
            except ValueError:  # not in the main thread: the caller's own business
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def config_json(config: Any) -> str:
    """A config dataclass as JSON, for the record of a run."""
    return json.dumps(dataclasses.asdict(config), default=str, indent=1)
