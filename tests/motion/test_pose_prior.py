"""The closed-form denoiser of Gaussian motion."""

import math

import pytest
import torch
from torch import Tensor

from engine.motion.diffusion.prior import MotionPrior, fit_lags
from engine.motion.diffusion.sampler import dpmpp_2m
from engine.motion.diffusion.schedule import DiffusionSchedule

SCHEDULE = DiffusionSchedule.linear()
WINDOW = 8


def _prior(decay: float = 0.9) -> MotionPrior:
    prior = MotionPrior(WINDOW, SCHEDULE)
    prior.lags_T.copy_(2.0 * decay ** torch.arange(WINDOW))
    return prior


def _covariance(prior: MotionPrior) -> Tensor:
    place = torch.arange(WINDOW)
    return prior.lags_T[(place[:, None] - place).abs()]


def test_unfitted_it_is_the_denoiser_of_white_noise() -> None:
    x = torch.randn(2, WINDOW, 3)
    eps = MotionPrior(WINDOW, SCHEDULE)(x, torch.tensor([40.0, 149.0]))
    for row, step in enumerate((40, 149)):
        torch.testing.assert_close(eps[row], math.sqrt(1 - SCHEDULE.alpha_bars[step]) * x[row])


def test_it_is_the_mean_of_the_noise_given_the_window() -> None:
    """Against a regression on drawn data, with frames at different noise levels."""
    prior = _prior()
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(_covariance(prior))
    clean = (root @ torch.randn(WINDOW, 200_000, generator=generator)).T
    eps = torch.randn(clean.shape, generator=generator)
    step = torch.tensor([5.0, 5.0, 37.5, 37.5, 80.0, 80.0, 120.0, 149.0])
    kept = torch.tensor([SCHEDULE.alpha_bar(float(value)) for value in step])
    x = kept.sqrt() * clean + (1 - kept).sqrt() * eps
    weights = torch.linalg.lstsq(x, eps).solution
    predicted = prior(torch.eye(WINDOW)[None], step[None])[0]
    torch.testing.assert_close(predicted, weights.T, rtol=0, atol=0.02)


def test_sampling_gives_motion_of_that_covariance() -> None:
    prior = _prior()
    kept = SCHEDULE.alpha_bars[-1]
    generator = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 8000, WINDOW, 1, generator=generator)
    x = math.sqrt(kept) * torch.linalg.cholesky(_covariance(prior)) @ clean + math.sqrt(1 - kept) * noise
    sampled = dpmpp_2m(
        lambda noisy, step: prior(noisy, torch.tensor([step])),
        x,
        SCHEDULE,
        SCHEDULE.subsample(50, 2.0),
    )[..., 0]
    torch.testing.assert_close(sampled.T.cov(), _covariance(prior), rtol=0, atol=0.25)


def test_shorter_windows_are_covered_and_longer_ones_refused() -> None:
    prior = _prior()
    assert prior(torch.randn(1, 3, 6), torch.tensor([10.0])).shape == (1, 3, 6)
    with pytest.raises(ValueError, match="8 frames"):
        prior(torch.randn(1, WINDOW + 1, 6), torch.tensor([10.0]))


def test_fitted_lags_are_those_of_the_data() -> None:
    generator = torch.Generator().manual_seed(2)
    sequences = []
    for _ in range(20):
        x = [torch.randn(2, generator=generator)]
        for _ in range(800):
            x.append(0.9 * x[-1] + math.sqrt(1 - 0.81) * torch.randn(2, generator=generator))
        sequences.append(torch.stack(x))
    lags = fit_lags(sequences, 10)
    torch.testing.assert_close(lags, 0.9 ** torch.arange(10.0), rtol=0, atol=0.08)
    place = torch.arange(10)
    assert torch.linalg.eigvalsh(lags[(place[:, None] - place).abs()]).min() > 0
    quiet = fit_lags([sequences[0], 0 * sequences[1]], 10, [1.0, 3.0])
    torch.testing.assert_close(quiet, fit_lags([sequences[0]], 10) / 4)
    assert fit_lags([torch.ones(3, 2)], 5)[3:].tolist() == [0.0, 0.0]


def test_the_operator_of_a_step_gives_the_same_answer() -> None:
    """Steps that come again in every window are solved once; clean frames beside noisy ones make the system stiff."""
    prior = MotionPrior(32, DiffusionSchedule.linear(150))
    prior.lags_T.copy_(torch.exp(-torch.arange(32) / 20.0))
    step_1T = torch.full((1, 32), 140.0)
    step_1T[:, :29] = 0.0
    x_BTC = torch.randn(3, 32, 6, generator=torch.Generator().manual_seed(0))
    solved_BTC = prior(x_BTC, step_1T.expand(3, -1))
    multiplied_BTC = (prior.operator(step_1T, 32) @ x_BTC.double()).float()
    torch.testing.assert_close(multiplied_BTC, solved_BTC, rtol=1e-5, atol=1e-5)
