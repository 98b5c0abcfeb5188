"""Samplers, judged with denoisers whose answer is known: Gaussian data."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.motion.diffusion.sampler import Denoise, ancestral, ddim, dpmpp_2m, guide, with_known_frames
from engine.motion.diffusion.schedule import DiffusionSchedule

SCHEDULE = DiffusionSchedule.linear()
ALL_STEPS = tuple(float(step) for step in reversed(range(len(SCHEDULE))))
MEAN, STD = 0.5, 0.4
POSTERIOR_LOSS = 0.05
"""The posterior's variance is exact for known data only; over 150 steps a Gaussian loses 4 % of its spread."""


def _gaussian(mean: float = MEAN, std: float = STD) -> Denoise:
    """E[eps | x] for data N(mean, std^2)."""

    def denoise(x: Tensor, step: float) -> Tensor:
        kept = SCHEDULE.alpha_bar(step)
        return (x - math.sqrt(kept) * mean) * math.sqrt(1 - kept) / (kept * std**2 + 1 - kept)

    return denoise


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _start(rows: int, mean: float = MEAN, std: float = STD) -> Tensor:
    """The noisiest step's true distribution."""
    kept = SCHEDULE.alpha_bars[-1]
    return math.sqrt(kept) * mean + math.sqrt(kept * std**2 + 1 - kept) * _noise(rows, 4, 1)


def test_full_eta_over_all_steps_is_the_ancestral_posterior() -> None:
    x, noise = _noise(3, 5, 2), _noise(149, 3, 5, 2, seed=1)
    expected = ancestral(_gaussian(), x, SCHEDULE, noise)
    actual = ddim(_gaussian(), x, SCHEDULE, ALL_STEPS, noise, eta=1.0)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_all_steps_give_the_datas_mean_and_spread(eta: float) -> None:
    noise = _noise(149, 5000, 4, 1, seed=1)
    samples = ddim(_gaussian(), _start(5000), SCHEDULE, ALL_STEPS, noise, eta=eta)
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert samples.std().item() == pytest.approx(STD, rel=POSTERIOR_LOSS if eta else 0.03)


def test_ancestral_gives_the_datas_mean_and_spread() -> None:
    samples = ancestral(_gaussian(), _start(5000), SCHEDULE, _noise(149, 5000, 4, 1, seed=1))
    assert samples.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert samples.std().item() == pytest.approx(STD, rel=POSTERIOR_LOSS)


def test_second_order_keeps_the_spread_that_four_plain_steps_lose() -> None:
    narrow = 0.15
    first, second = (
        sampler(_gaussian(std=narrow), _start(5000, std=narrow), SCHEDULE, SCHEDULE.subsample(4, spacing))
        for sampler, spacing in ((ddim, 1.0), (dpmpp_2m, 3.0))
    )
    assert first.std().item() / narrow < 0.5
    assert 0.7 < second.std().item() / narrow < 1.1
    assert second.mean().item() == pytest.approx(MEAN, abs=0.02)


def test_both_orders_meet_when_steps_are_many() -> None:
    x = _noise(3, 5, 2)
    one, two = (sampler(_gaussian(), x, SCHEDULE, ALL_STEPS) for sampler in (ddim, dpmpp_2m))
    torch.testing.assert_close(one, two, rtol=0, atol=0.02)


@pytest.mark.parametrize("sampler", [ddim, dpmpp_2m])
@pytest.mark.parametrize("clean", [False, True])
def test_the_network_sees_known_frames_at_every_step_whatever_the_sampler_makes_of_them(
    clean: bool, sampler: Callable[..., Tensor]
) -> None:
    x, known = _noise(2, 6, 3), _noise(2, 6, 3, seed=2)
    mask = torch.tensor([True, True, True, True, False, False])
    seen: list[tuple[float, Tensor]] = []

    def denoise(x_BTC: Tensor, step: float) -> Tensor:
        seen.append((step, x_BTC.clone()))
        return _gaussian()(x_BTC, step)

    steps = SCHEDULE.subsample(4)
    sampler(with_known_frames(denoise, x, SCHEDULE, known, mask, clean=clean), x, SCHEDULE, steps)
    assert len(seen) == len(steps)
    for step, shown in seen:
        kept = SCHEDULE.alpha_bar(step)
        noised = math.sqrt(kept) * known + math.sqrt(1 - kept) * x
        assert torch.equal(shown[:, mask], (known if clean else noised)[:, mask])


def test_sampling_is_a_pure_function() -> None:
    x, noise = _noise(2, 6, 3), _noise(3, 2, 6, 3, seed=1)
    before = x.clone(), noise.clone()
    steps = SCHEDULE.subsample(4)
    one, two = (ddim(_gaussian(), x, SCHEDULE, steps, noise, eta=1.0) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(x, before[0])
    assert torch.equal(noise, before[1])


def test_limit_bounds_the_result() -> None:
    wide = _gaussian(mean=3.0)
    x, steps = _noise(50, 6, 3), SCHEDULE.subsample(4)
    for sampler in (ddim, dpmpp_2m):
        assert sampler(wide, x, SCHEDULE, steps).abs().max() > 1.5
        assert sampler(wide, x, SCHEDULE, steps, limit=1.0).abs().max() <= 1.0 + 1e-9


def test_guidance_is_equation_three() -> None:
    with_initial, without = _noise(2, 3, 4), _noise(2, 3, 4, seed=1)
    expected = 0.4 * with_initial + 0.6 * without
    torch.testing.assert_close(guide(with_initial, without, 0.4), expected)
    assert torch.equal(guide(with_initial, without, 1.0), with_initial)
    assert torch.equal(guide(with_initial, without, 0.0), without)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"steps": ()}, "fall"),
        ({"steps": (3.0, 3.0)}, "fall"),
        ({"eta": 0.5}, "noise"),
    ],
)
def test_misuse_is_refused(changes: dict[str, object], match: str) -> None:
    arguments: dict[str, object] = {"steps": (9.0, 3.0), **changes}
    with pytest.raises(ValueError, match=match):
        ddim(_gaussian(), _noise(1, 2, 1), SCHEDULE, **arguments)  # type: ignore[arg-type]
