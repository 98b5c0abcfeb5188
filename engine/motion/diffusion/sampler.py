"""Reverse diffusion: each sampler a pure function of (denoise, x, schedule, ...), whatever network denoises.

    ddim        few steps, deterministic or with noise                    Song et al. 2021, Eq. 12
    dpmpp_2m    few steps, second order, deterministic                    Lu et al. 2022, DPM-Solver++(2M)
    ancestral   every step of the schedule, as the release samples        Ho et al. 2020, algorithm 2

What they share: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps with a_t = alpha-bar of `DiffusionSchedule`, and a network that
predicts eps. `with_known_frames` wraps such a network so that some frames of the window are given.

Shape suffixes: B rows, T frames, C channels, N noise draws.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from engine.motion.diffusion.schedule import DiffusionSchedule

Denoise = Callable[[Tensor, float], Tensor]
"""(x_BTC, step) -> predicted noise (B, T, C)."""


def guide(eps_with: Tensor, eps_without: Tensor, gamma: float) -> Tensor:
    """Classifier-free guidance (Eq. 3): gamma * eps(x, audio + initial) + (1 - gamma) * eps(x, audio)."""
    return torch.lerp(eps_without, eps_with, gamma)


def with_known_frames(
    denoise: Denoise,
    x_BTC: Tensor,
    schedule: DiffusionSchedule,
    known_BTC: Tensor,
    known_mask_T: Tensor,
    *,
    clean: bool = False,
) -> Denoise:
    """``denoise``, shown the known frames in place of what the sampler has there.

    The noise of a known frame is its own part of the starting ``x``, the same at every step, so a frame that was
    sampled from that draw is led along the path that made it. What the sampler returns at known frames means nothing.

    Args:
        x_BTC: what sampling starts from.
        known_BTC, known_mask_T: clean frames (B, T, C), and where they count, bool (T,) or (B, T).
        clean: show them without noise; ``denoise`` must then know that they are clean.
    """
    mask_T1 = known_mask_T.unsqueeze(-1)

    def denoise_beside_known(sampled_BTC: Tensor, step: float) -> Tensor:
        shown_BTC = known_BTC
        if not clean:
            alpha_bar = schedule.alpha_bar(step)
            shown_BTC = math.sqrt(alpha_bar) * known_BTC + math.sqrt(1 - alpha_bar) * x_BTC
        return denoise(torch.where(mask_T1, shown_BTC, sampled_BTC), step)

    return denoise_beside_known


def ddim(
    denoise: Denoise,
    x_BTC: Tensor,
    schedule: DiffusionSchedule,
    steps: Sequence[float],
    noise_NBTC: Tensor | None = None,
    *,
    eta: float = 0.0,
    limit: float | None = None,
) -> Tensor:
    """x <- sqrt(a') x_0 + sqrt(1 - a' - s^2) eps + s z, with s^2 = eta^2 (1 - a') / (1 - a) (1 - a / a').

    Args:
        x_BTC: float32 (B, T, C), standard normal; not changed.
        schedule: the process that ``denoise`` was trained on.
        steps: falling; may be fractional (`DiffusionSchedule.subsample`).
        noise_NBTC: float32 (len(steps) - 1, B, T, C), z after all steps but the last; needed if eta > 0.
        eta: 0 is deterministic; 1 over all steps is the ancestral posterior.
        limit: clip predicted clean values to +-limit at each step; None leaves them.

    Returns:
        float32 (B, T, C).

    Raises:
        ValueError: steps do not fall, or noise is missing.
    """
    if eta > 0 and len(steps) > 1 and noise_NBTC is None:
        raise ValueError("eta > 0 needs noise for every step but the last")
    for index, (step, alpha_bar, alpha_bar_next) in enumerate(_transitions(schedule, steps)):
        eps_BTC = denoise(x_BTC, step)
        clean_BTC = _clean(x_BTC, eps_BTC, alpha_bar, limit)
        if limit is not None:
            eps_BTC = _eps(x_BTC, clean_BTC, alpha_bar)
        variance = eta**2 * (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)
        x_BTC = math.sqrt(alpha_bar_next) * clean_BTC + math.sqrt(max(1 - alpha_bar_next - variance, 0.0)) * eps_BTC
        if variance > 0 and noise_NBTC is not None:
            x_BTC = x_BTC + math.sqrt(variance) * noise_NBTC[index]
    return x_BTC


def dpmpp_2m(
    denoise: Denoise,
    x_BTC: Tensor,
    schedule: DiffusionSchedule,
    steps: Sequence[float],
    *,
    limit: float | None = None,
) -> Tensor:
    """`ddim` whose clean prediction D is extrapolated over log(SNR) from the last two, at no further cost.

    D = x_0 + (x_0 - x_0 before) h / (2 h before), with h the step in lambda = log(sqrt(a) / sqrt(1 - a)); then
    x <- sqrt(a') D + sqrt(1 - a') eps(D), which is the paper's update written as DDIM's. The last step is of first
    order, as theirs.

    With few steps DDIM loses variance: it lands close to the mean of what could follow, and in a stream that feeds
    itself motion dies down. The second order keeps most of it.

    Arguments, result and errors are those of `ddim`.
    """
    before: tuple[Tensor, float] | None = None
    for step, alpha_bar, alpha_bar_next in _transitions(schedule, steps):
        clean_BTC = data_BTC = _clean(x_BTC, denoise(x_BTC, step), alpha_bar, limit)
        log_snr = _log_snr(alpha_bar)
        if before is not None and alpha_bar_next < 1.0:
            share = (_log_snr(alpha_bar_next) - log_snr) / (log_snr - before[1]) / 2
            data_BTC = clean_BTC + share * (clean_BTC - before[0])
        before = clean_BTC, log_snr
        eps_BTC = _eps(x_BTC, data_BTC, alpha_bar)
        x_BTC = math.sqrt(alpha_bar_next) * data_BTC + math.sqrt(1 - alpha_bar_next) * eps_BTC
    return x_BTC


def ancestral(denoise: Denoise, x_BTC: Tensor, schedule: DiffusionSchedule, noise_NBTC: Tensor) -> Tensor:
    """x <- (x - beta / sqrt(1 - a) eps) / sqrt(1 - beta) + s z, with s^2 the posterior's variance.

    Args:
        noise_NBTC: float32 (len(schedule) - 1, B, T, C), z in the order of use (noisiest step first).

    The others and the result are those of `ddim`; nothing is clipped here.
    """
    for index, step in enumerate(reversed(range(len(schedule)))):
        beta, alpha_bar = schedule.betas[step], schedule.alpha_bars[step]
        x_BTC = (x_BTC - beta / math.sqrt(1 - alpha_bar) * denoise(x_BTC, float(step))) / math.sqrt(1 - beta)
        if step > 0:
            variance = (1 - schedule.alpha_bars[step - 1]) / (1 - alpha_bar) * beta
            x_BTC = x_BTC + math.sqrt(variance) * noise_NBTC[index]
    return x_BTC


def _transitions(schedule: DiffusionSchedule, steps: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Each step with its alpha-bar and the next one's, which after the last step is 1: a clean signal."""
    if not steps or any(later >= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError("steps must fall and be at least one")
    alpha_bars = [*map(schedule.alpha_bar, steps), 1.0]
    return zip(steps, alpha_bars[:-1], alpha_bars[1:], strict=True)


def _clean(x_BTC: Tensor, eps_BTC: Tensor, alpha_bar: float, limit: float | None) -> Tensor:
    clean_BTC = (x_BTC - math.sqrt(1 - alpha_bar) * eps_BTC) / math.sqrt(alpha_bar)
    return clean_BTC if limit is None else clean_BTC.clamp(-limit, limit)


def _eps(x_BTC: Tensor, clean_BTC: Tensor, alpha_bar: float) -> Tensor:
    return (x_BTC - math.sqrt(alpha_bar) * clean_BTC) / math.sqrt(1 - alpha_bar)


def _log_snr(alpha_bar: float) -> float:
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
