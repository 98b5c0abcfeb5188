"""Losses against independent computations of their equations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion.landmark_model import LandmarkModel
from train.losses import (
    LipLossWeights,
    PatchDiscriminator,
    gaussian_kl,
    lip_losses,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    noise_prediction_loss,
    sliced_wasserstein,
    ssim_loss,
)
from train.metrics import mouth_agreement
from train.metrics.blink import blink_statistics
from train.metrics.pose import pose_statistics

_SPACE = Path(__file__).resolve().parents[2] / "engine" / "weights" / "default" / "motion_space.safetensors"


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(_SPACE)


def test_lip_losses_equal_their_equations(model: LandmarkModel) -> None:
    torch.manual_seed(0)
    predicted, target = torch.randn(7, 64), torch.randn(7, 64)
    feature = model.eye_feature(target)
    weights = LipLossWeights(landmarks=0.3, eye=0.5, shut=0.7, expression=1.1)
    terms = lip_losses(model, predicted, target, feature, weights)
    a = model.landmarks_68(predicted).numpy() * 89.6
    b = model.landmarks_68(target).numpy() * 89.6
    points = [*range(3, 14), *range(48, 68)]
    assert len(points) == 31
    landmarks = np.mean([np.mean([((a[t, i] - b[t, i]) ** 2).sum() for i in points]) for t in range(7)])
    shut = (
        np.mean([(((a[t, 60:64] - a[t, 64:68]) - (b[t, 60:64] - b[t, 64:68])) ** 2).sum() for t in range(7)])
        / 89.6
    )
    scale = np.array([0.2] + [0.01] * 20)
    eye = (np.abs(model.eye_feature(predicted).numpy() - feature.numpy()) / scale).mean()
    expression = np.abs(predicted.numpy() - target.numpy()).mean()
    for got, want in zip(
        (terms.landmarks, terms.shut, terms.eye, terms.expression),
        (landmarks, shut, eye, expression),
        strict=True,
    ):
        assert float(got) == pytest.approx(float(want), rel=1e-4)
    total = 0.3 * landmarks + 0.5 * eye + 0.7 * shut + 1.1 * expression
    assert float(terms.total) == pytest.approx(float(total), rel=1e-4)


def test_ssim_loss_equals_equation_26_and_is_zero_for_equal_sequences() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(1, 30, 21), torch.randn(1, 30, 21)
    values = []
    for i in range(21):
        p, t = x[0, :, i].numpy(), y[0, :, i].numpy()
        covariance = ((p - p.mean()) * (t - t.mean())).mean()
        values.append(
            (2 * p.mean() * t.mean() + 1e-4)
            * (2 * covariance + 9e-4)
            / ((p.mean() ** 2 + t.mean() ** 2 + 1e-4) * (p.var() + t.var() + 9e-4))
        )
    assert float(ssim_loss(x, y)) == pytest.approx(1 - np.mean(values), abs=1e-5)
    assert float(ssim_loss(x, x)) == pytest.approx(0, abs=1e-6)


def test_least_squares_gan_targets() -> None:
    ones, zeros = torch.ones(3, 4), torch.zeros(3, 4)
    assert float(lsgan_discriminator_loss(ones, zeros)) == 0
    assert float(lsgan_generator_loss(ones)) == 0
    assert float(lsgan_discriminator_loss(zeros, ones)) == 1
    assert PatchDiscriminator(21)(torch.randn(2, 64, 21)).shape == (2, 8)


def test_kl_of_a_standard_normal_is_zero_and_of_a_shifted_one_half_its_square() -> None:
    assert float(gaussian_kl(torch.zeros(4), torch.zeros(4))) == 0
    assert float(gaussian_kl(torch.full((4,), 2.0), torch.zeros(4))) == pytest.approx(2.0)


def test_distribution_match_ignores_order_of_rows_and_sees_missing_events() -> None:
    generator = torch.Generator().manual_seed(0)
    real = 0.1 * torch.randn(6, 60, 21, generator=generator)
    real[:, 20:25, 0] -= 4
    flat = 0.1 * torch.randn(6, 60, 21, generator=generator)
    same = sliced_wasserstein(real.flip(0), real, torch.Generator().manual_seed(1))
    missing = sliced_wasserstein(flat, real, torch.Generator().manual_seed(1))
    assert float(same) == pytest.approx(0, abs=1e-6)
    assert float(missing) > 0.1


def test_noise_prediction_counts_unknown_frames_only() -> None:
    eps, predicted = torch.zeros(1, 4, 6), torch.ones(1, 4, 6)
    predicted[:, :3] = 100
    unknown = torch.tensor([[False, False, False, True]])
    assert float(noise_prediction_loss(eps, predicted, unknown)) == 1


def test_mouth_agreement_allows_one_frame_of_lag() -> None:
    real = np.sin(np.arange(100) / 3).astype(np.float32)
    agreement = mouth_agreement(0.5 * np.roll(real, 1), real)
    assert agreement.correlation > 0.99
    assert agreement.range_ratio == pytest.approx(0.5, abs=0.01)


def test_blinks_are_counted() -> None:
    curve = np.ones(1500, np.float32)
    for start in range(50, 1500, 100):
        curve[start : start + 6] = [0.7, 0.3, 0.1, 0.2, 0.5, 0.75]
    blinks = blink_statistics([curve])
    assert blinks.per_minute == pytest.approx(15)
    assert blinks.depth == pytest.approx(0.1)
    assert blinks.frames == 6


def test_jumps_at_hop_borders_are_seen() -> None:
    smooth = 0.1 * torch.sin(torch.arange(300.0) / 20)[:, None].repeat(1, 6)
    stairs = smooth[::3].repeat_interleave(3, 0)[:300]
    assert pose_statistics([smooth], 3).border_jump == pytest.approx(1, abs=0.05)
    assert pose_statistics([stairs], 3).border_jump > 3
