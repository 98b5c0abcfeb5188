"""Samplers, judged with denoisers whose answer is known: Gaussian data."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.motion.diffusion.sampler import Denoise, ancestral, ddim, guide
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
    spread = {
        (order, spacing): ddim(
            _gaussian(std=narrow),
            _start(5000, std=narrow),
            SCHEDULE,
            SCHEDULE.subsample(4, spacing),
            order=order,
        )
        for order, spacing in ((1, 1.0), (2, 3.0))
    }
    plain, second = spread[1, 1.0].std().item() / narrow, spread[2, 3.0].std().item() / narrow
    assert plain < 0.5
    assert 0.7 < second < 1.1
    assert spread[2, 3.0].mean().item() == pytest.approx(MEAN, abs=0.02)


def test_both_orders_meet_when_steps_are_many() -> None:
    x = _noise(3, 5, 2)
    one, two = (ddim(_gaussian(), x, SCHEDULE, ALL_STEPS, order=order) for order in (1, 2))
    torch.testing.assert_close(one, two, rtol=0, atol=0.02)


@pytest.mark.parametrize("clean", [False, True])
def test_known_frames_are_clamped_at_every_step_and_come_out_exactly(clean: bool) -> None:
    x, known = _noise(2, 6, 3), _noise(2, 6, 3, seed=2)
    mask = torch.tensor([True, True, True, True, False, False])
    seen: list[tuple[float, Tensor]] = []

    def denoise(x_BTC: Tensor, step: float) -> Tensor:
        seen.append((step, x_BTC.clone()))
        return _gaussian()(x_BTC, step)

    steps = SCHEDULE.subsample(4)
    sampled = ddim(denoise, x, SCHEDULE, steps, known_BTC=known, known_mask_BT=mask, known_clean=clean, order=2)
    assert torch.equal(sampled[:, mask], known[:, mask])
    assert not torch.equal(sampled[:, ~mask], known[:, ~mask])
    for step, shown in seen:
        kept = SCHEDULE.alpha_bar(step)
        noised = math.sqrt(kept) * known + math.sqrt(1 - kept) * x
        assert torch.equal(shown[:, mask], (known if clean else noised)[:, mask])


def test_ancestral_clamps_too() -> None:
    x, known = _noise(2, 6, 3), _noise(2, 6, 3, seed=2)
    mask = torch.arange(6) < 4
    sampled = ancestral(_gaussian(), x, SCHEDULE, _noise(149, 2, 6, 3), known, mask)
    assert torch.equal(sampled[:, mask], known[:, mask])
    with pytest.raises(ValueError, match="together"):
        ancestral(_gaussian(), x, SCHEDULE, _noise(149, 2, 6, 3), known)


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
    assert ddim(wide, x, SCHEDULE, steps).abs().max() > 1.5
    assert ddim(wide, x, SCHEDULE, steps, limit=1.0).abs().max() <= 1.0 + 1e-9


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
        ({"order": 3}, "order"),
        ({"order": 2, "eta": 0.5, "noise_NBTC": _noise(1, 1, 2, 1)}, "order"),
    ],
)
def test_misuse_is_refused(changes: dict[str, object], match: str) -> None:
    arguments: dict[str, object] = {"steps": (9.0, 3.0), **changes}
    with pytest.raises(ValueError, match=match):
        ddim(_gaussian(), _noise(1, 2, 1), SCHEDULE, **arguments)  # type: ignore[arg-type]
