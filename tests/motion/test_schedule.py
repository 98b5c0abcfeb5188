"""The diffusion schedule."""

import math

import pytest

from engine.motion.diffusion.schedule import DiffusionSchedule


def test_linear_is_the_releases() -> None:
    schedule = DiffusionSchedule.linear()
    assert len(schedule) == 150
    assert schedule.betas[0] == pytest.approx(1e-4)
    assert schedule.betas[-1] == pytest.approx(0.05)
    assert schedule.betas[75] - schedule.betas[74] == pytest.approx(0.0499 / 149)
    assert schedule.alpha_bars[0] == pytest.approx(1 - 1e-4)
    assert schedule.alpha_bars[-1] == pytest.approx(math.prod(1 - beta for beta in schedule.betas))


def test_alpha_bar_of_fractional_steps_lies_between_its_neighbours() -> None:
    schedule = DiffusionSchedule.linear()
    assert schedule.alpha_bar(40) == pytest.approx(schedule.alpha_bars[40], rel=1e-15)
    assert schedule.alpha_bar(149.0) == pytest.approx(schedule.alpha_bars[149], rel=1e-15)
    assert schedule.alpha_bars[38] < schedule.alpha_bar(37.5) < schedule.alpha_bars[37]
    assert schedule.alpha_bar(-1) == 1.0
    with pytest.raises(ValueError, match="outside"):
        schedule.alpha_bar(149.5)


def test_subsampling_starts_at_the_noisiest_step_and_falls() -> None:
    schedule = DiffusionSchedule.linear()
    assert schedule.subsample(4) == pytest.approx((149, 111.75, 74.5, 37.25))
    assert schedule.subsample(1) == (149,)
    assert schedule.subsample(4, spacing=2.0)[-1] == pytest.approx(149 / 16)
    with pytest.raises(ValueError, match="151"):
        schedule.subsample(151)


@pytest.mark.parametrize("betas", [(), (0.0,), (1.0,), (0.1, -0.1)])
def test_betas_must_be_shares(betas: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="betas"):
        DiffusionSchedule(betas)
