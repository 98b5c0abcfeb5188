"""Reverse diffusion as pure functions of (denoise, x, schedule, noise).

`ddim` takes few steps, `ancestral` every one of them. Both can clamp known frames: before each step the known
frames of x are replaced by their noised values (or clean ones). The noise of a known frame is its own part of
the starting ``x``, at every step the same, so a frame that was sampled from that draw is led along the path
that made it.

Shape suffixes: B rows, T frames, C channels, N noise draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.motion.diffusion.schedule import DiffusionSchedule

Denoise = Callable[[Tensor, float], Tensor]
"""(x_BTC, step) -> predicted noise (B, T, C)."""


def guide(eps_with: Tensor, eps_without: Tensor, gamma: float) -> Tensor:
    """Classifier-free guidance (Eq. 3): gamma * eps(x, audio + initial) + (1 - gamma) * eps(x, audio)."""
    return torch.lerp(eps_without, eps_with, gamma)


def ddim(
    denoise: Denoise,
    x_BTC: Tensor,
    schedule: DiffusionSchedule,
    steps: Sequence[float],
    noise_NBTC: Tensor | None = None,
    eta: float = 0.0,
    order: int = 1,
    known_BTC: Tensor | None = None,
    known_mask_BT: Tensor | None = None,
    known_clean: bool = False,
    limit: float | None = None,
) -> Tensor:
    """Sample in the given steps (Song et al. 2021, Eq. 12), from the noisiest to a clean signal.

    With few steps the plain form loses variance: it lands close to the mean of what could follow, and in a
    stream that feeds itself motion dies down. ``order`` 2 extrapolates the clean prediction from the last two
    (Lu et al. 2022, DPM-Solver++ 2M) at no further cost, which keeps most of it.

    Args:
        denoise: the noise prediction.
        x_BTC: float32 (B, T, C), standard normal; not changed.
        schedule: the process that ``denoise`` was trained on.
        steps: falling; may be fractional (`DiffusionSchedule.subsample`).
        noise_NBTC: float32 (len(steps) - 1, B, T, C), used after all steps but the last; needed if eta > 0.
        eta: 0 is deterministic; 1 over all steps is the ancestral posterior.
        order: 1, or 2 for the extrapolated form (deterministic only).
        known_BTC, known_mask_BT: clean frames (B, T, C) and a bool mask (B, T) or (T,) of where they count.
        known_clean: show the known frames to ``denoise`` without noise, which must then know them for clean.
        limit: clip predicted clean values to +-limit at each step; None leaves them.

    Returns:
        float32 (B, T, C); known frames come out exactly as given.

    Raises:
        ValueError: steps do not fall, or noise or a mask is missing.
    """
    if not steps or any(later >= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError("steps must fall and be at least one")
    if eta > 0 and len(steps) > 1 and noise_NBTC is None:
        raise ValueError("eta > 0 needs noise for every step but the last")
    if order not in (1, 2) or (order == 2 and eta > 0):
        raise ValueError("order must be 1, or 2 with eta 0")
    before: tuple[Tensor, float] | None = None
    clamp = _Clamp(x_BTC, known_BTC, known_mask_BT, known_clean)
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        alpha_bar = schedule.alpha_bar(step)
        alpha_bar_next = 1.0 if last else schedule.alpha_bar(steps[index + 1])
        x_BTC = clamp.noised(x_BTC, alpha_bar)
        eps_BTC = denoise(x_BTC, step)
        clean_BTC = (x_BTC - math.sqrt(1 - alpha_bar) * eps_BTC) / math.sqrt(alpha_bar)
        if limit is not None:
            clean_BTC = clean_BTC.clamp(-limit, limit)
        predicted = clean_BTC, _log_snr(alpha_bar)
        if order == 2 and before is not None and not last:
            share = (_log_snr(alpha_bar_next) - predicted[1]) / (predicted[1] - before[1]) / 2
            clean_BTC = clean_BTC + share * (clean_BTC - before[0])
        before = predicted
        if limit is not None or order == 2:
            eps_BTC = (x_BTC - math.sqrt(alpha_bar) * clean_BTC) / math.sqrt(1 - alpha_bar)
        variance = eta**2 * (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)
        direction = math.sqrt(max(1 - alpha_bar_next - variance, 0.0))
        x_BTC = math.sqrt(alpha_bar_next) * clean_BTC + direction * eps_BTC
        if variance > 0 and noise_NBTC is not None:
            x_BTC = x_BTC + math.sqrt(variance) * noise_NBTC[index]
    return clamp.clean(x_BTC)


def ancestral(
    denoise: Denoise,
    x_BTC: Tensor,
    schedule: DiffusionSchedule,
    noise_NBTC: Tensor,
    known_BTC: Tensor | None = None,
    known_mask_BT: Tensor | None = None,
) -> Tensor:
    """Sample by every step of the schedule, as the release does (Ho et al. 2020, algorithm 2).

    Args:
        noise_NBTC: float32 (len(schedule) - 1, B, T, C), in the order of use (noisiest step first).

    The others, the result and clamping are those of `ddim`; nothing is clipped here.
    """
    clamp = _Clamp(x_BTC, known_BTC, known_mask_BT)
    for index, step in enumerate(reversed(range(len(schedule)))):
        beta, alpha_bar = schedule.betas[step], schedule.alpha_bars[step]
        x_BTC = clamp.noised(x_BTC, alpha_bar)
        x_BTC = (x_BTC - beta / math.sqrt(1 - alpha_bar) * denoise(x_BTC, float(step))) / math.sqrt(1 - beta)
        if step > 0:
            variance = (1 - schedule.alpha_bars[step - 1]) / (1 - alpha_bar) * beta
            x_BTC = x_BTC + math.sqrt(variance) * noise_NBTC[index]
    return clamp.clean(x_BTC)


def _log_snr(alpha_bar: float) -> float:
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))


class _Clamp:
    """Puts known frames in their place."""

    def __init__(
        self,
        start_BTC: Tensor,
        known_BTC: Tensor | None,
        mask_BT: Tensor | None,
        clean: bool = False,
    ) -> None:
        if (known_BTC is None) != (mask_BT is None):
            raise ValueError("known frames and their mask come together")
        self._start_BTC = start_BTC
        self._known_BTC = known_BTC
        self._mask_BT1 = None if mask_BT is None else mask_BT.unsqueeze(-1)
        self._clean = clean

    def noised(self, x_BTC: Tensor, alpha_bar: float) -> Tensor:
        if self._clean or self._known_BTC is None:
            return self.clean(x_BTC)
        noised_BTC = math.sqrt(alpha_bar) * self._known_BTC + math.sqrt(1 - alpha_bar) * self._start_BTC
        return self._placed(noised_BTC, x_BTC)

    def clean(self, x_BTC: Tensor) -> Tensor:
        return x_BTC if self._known_BTC is None else self._placed(self._known_BTC, x_BTC)

    def _placed(self, known_BTC: Tensor, x_BTC: Tensor) -> Tensor:
        assert self._mask_BT1 is not None
        return torch.where(self._mask_BT1, known_BTC, x_BTC)
