"""A task of a few dozen weights with what trips trainers: two optimisers, dropout, buffers, a correlation."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.datasets.batch_rng import BatchRng
from train.distributed import gather_rows
from train.tasks.protocol import Update
from train.trainer_config import TrainerConfig

ROWS = 12


class CurveTask:
    """Fits a curve under the eyes of a judge.

    Args:
        dropout: of the hidden layer, by torch's own randomness.
        correlation: weight of a loss that is not a mean over rows.
        bad: (step, row) whose input is NaN.
        stop_at, stop_share: step and share in which this process sends itself ``stop_signal``.
    """

    averaged = ("net",)

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        correlation: float = 0.0,
        normalised: bool = False,
        bad: tuple[int, int] | None = None,
        stop_at: int | None = None,
        stop_share: int = 0,
        stop_signal: signal.Signals = signal.SIGTERM,
        rows: int = ROWS,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        middle = [nn.BatchNorm1d(8)] if normalised else []
        # A bias before a BatchNorm has no gradient but rounding, which Adam would blow up.
        net = nn.Sequential(
            nn.Linear(4, 8, bias=not normalised), *middle, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)
        )
        judge = nn.utils.parametrizations.spectral_norm(nn.Linear(1, 1))
        self.modules = nn.ModuleDict({"net": net, "judge": judge})
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "judge": torch.optim.SGD(self.modules["judge"].parameters(), 1e-2, momentum=0.9),
            "net": torch.optim.Adam(self.modules["net"].parameters(), 3e-2),
        }
        self._correlation, self._bad, self._rows = correlation, bad, rows
        self._stop_at, self._stop_share, self._stop_signal = stop_at, stop_share, stop_signal
        self.evaluations = 0

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        if step == self._stop_at and rng.index == self._stop_share:
            os.kill(os.getpid(), self._stop_signal)
        own = rng.own_rows(self._rows)
        x_BC = torch.randn(self._rows, 4, generator=rng.generator)
        if self._bad is not None and step == self._bad[0]:
            x_BC[self._bad[1]] = float("nan")
        x_BC = x_BC[own].to(rng.device)
        rows = f"rows {own.start} to {own.stop - 1}"
        target_B1 = torch.sin(x_BC.mean(1, keepdim=True))
        found_B1 = self.modules["net"](x_BC).float()
        judge = self.modules["judge"]
        judged = (judge(found_B1.detach()) - 1).square().mean() + judge(target_B1).square().mean()
        yield Update("judge", judged, batch=rows)
        error = (found_B1 - target_B1).square().mean()
        loss = error + 0.1 * judge(found_B1).square().mean()
        if self._correlation:
            loss = loss + self._correlation * _disagreement(gather_rows(found_B1), gather_rows(target_B1))
        yield Update("net", loss, {"error": error}, rows)

    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        self.evaluations += 1
        place = next(modules["net"].parameters()).device
        x_BC = torch.linspace(-1, 1, 20, device=place)[:, None].expand(-1, 4)
        found: Tensor = modules["net"](x_BC)
        return {"held_out": float((found - torch.sin(x_BC.mean(1, keepdim=True))).square().mean())}

    def images(self, modules: Mapping[str, nn.Module]) -> dict[str, NDArray[np.uint8]]:
        return {"grey": np.full((8, 12, 3), 128, np.uint8)}


def _disagreement(found_B1: Tensor, target_B1: Tensor) -> Tensor:
    """One minus the correlation over rows."""
    return 1 - nn.functional.cosine_similarity(found_B1 - found_B1.mean(0), target_B1 - target_B1.mean(0), dim=0).mean()


def trainer_config(out: Path, **changes: object) -> TrainerConfig:
    """Twelve steps, every loss logged."""
    settings: dict[str, object] = {
        "steps": 12,
        "warmup_steps": 3,
        "log_every": 1,
        "evaluate_every": 0,
        "checkpoint_every": 100,
        "device": "cpu",
        "threads": 1,
    }
    return TrainerConfig(out=out, **(settings | changes))  # type: ignore[arg-type]
