"""Settings of the training loop, and how learning rates move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.distributed import DeviceChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """The loop's settings. Batch sizes and learning rates belong to the task.

    Attributes:
        out: folder of the checkpoint, ``log.jsonl`` and ``config.json``; a checkpoint in it is continued.
        minutes: stop early after this much wall time, the cosine following whichever ends first; 0 is no limit.
        schedule, warmup_steps, final_rate: the rate rises over the warm-up, then stays (constant: the paper's) or
            falls along a half cosine to ``final_rate`` of itself.
        clip_norm: largest norm of an optimiser's gradient; 0 does not clip.
        ema_decay: of the averaged weights, less at the beginning: (1 + step) / (10 + step).
        accumulation: micro-batches into which each process cuts its share of the batch; saves memory, changes nothing.
        precision: bf16 runs the networks under autocast; weights, gradients and optimisers stay fp32.
        evaluate_every: 0 evaluates at the end only.
        threads: CPU threads; 0 leaves torch's choice.
    """

    out: Path
    steps: int = 2000
    minutes: float = 0.0
    seed: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 50
    final_rate: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    accumulation: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    device: DeviceChoice = "auto"
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
            device="cpu",
            evaluate_every=0,
            checkpoint_every=steps,
            log_every=5,
            threads=1,
        )

    @classmethod
    def open(cls, name: str, steps: int, *, ema_decay: float = 0.998, clip_norm: float = 1.0) -> TrainerConfig:
        """A run in ``runs/NAME`` as those of the bundled weights: one CPU thread, a cosine, averaged weights.

        It is evaluated and saved every 500 steps, a long run ten times. ``ema_decay`` is less for short runs, whose
        average would otherwise still hold the beginning.
        """
        return cls(
            out=Path("runs") / name,
            steps=steps,
            ema_decay=ema_decay,
            clip_norm=clip_norm,
            device="cpu",
            evaluate_every=max(500, steps // 10),
            threads=1,
        )

    @classmethod
    def paper(cls, name: str, steps: int, *, ema_decay: float = 0.0) -> TrainerConfig:
        """A long run in ``runs/NAME`` with nothing the paper does not have: no warm-up, no decay of rates, no clipping.

        ``ema_decay``: the paper names no averaged weights; adversarial and diffusion networks are shown by them.
        """
        return cls(
            out=Path("runs") / name,
            steps=steps,
            schedule="constant",
            warmup_steps=0,
            clip_norm=0.0,
            ema_decay=ema_decay,
            evaluate_every=5000,
            checkpoint_every=1000,
            log_every=100,
            tensorboard=True,
        )

    def __post_init__(self) -> None:
        for name in ("steps", "accumulation", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError("ema_decay must be within 0..1, 1 excluded")

    def rate_factor(self, step: int, seconds: float) -> float:
        """What the task's learning rates are multiplied with in ``step``, after ``seconds`` of training."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        done = step / self.steps
        if self.minutes > 0:
            done = max(done, seconds / (60 * self.minutes))
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
