"""Losses against independent computations of their equations."""

import numpy as np
import pytest
import torch

from train.losses import noise_prediction_loss
from train.metrics import mouth_agreement
from train.metrics.blink import blink_statistics
from train.metrics.pose import pose_statistics


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
