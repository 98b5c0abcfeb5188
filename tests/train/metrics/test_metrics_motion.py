"""Structure, spread, landmark distances and identity on cases with known answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.pose import project
from train.metrics import (
    average_variance,
    expression_landmarks,
    eye_brow_sequence,
    identity_similarity,
    landmark_error,
    landmark_jitter,
    mouth_landmark_distance,
    rhythm,
    structural_similarity,
)


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(Path(BUNDLED_MOTION_SPACE))


def test_structural_similarity_by_hand() -> None:
    real = np.array([[0.0, 0.1], [0.2, 0.1]])
    generated = np.array([[0.1, 0.1], [0.1, 0.3]])
    # channel 0: means 0.1, 0.1, variances 0.01, 0, no covariance; channel 1: means 0.1, 0.2, variances 0, 0.01
    first = 9e-4 / (0.01 + 9e-4)
    second = (2 * 0.1 * 0.2 + 1e-4) / (0.01 + 0.04 + 1e-4) * 9e-4 / (0.01 + 9e-4)
    assert structural_similarity(generated, real) == pytest.approx((first + second) / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 2**31))
def test_structural_similarity_is_equation_26_channel_by_channel(frames: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = 0.2 * rng.standard_normal((2, frames, channels))
    assert structural_similarity(a, a) == pytest.approx(1)
    assert structural_similarity(a, b) == pytest.approx(structural_similarity(b, a))
    terms = []
    for x, y in zip(a.T, b.T, strict=True):
        cov = np.cov(x, y, ddof=0)
        above = (2 * x.mean() * y.mean() + 1e-4) * (2 * cov[0, 1] + 9e-4)
        terms.append(above / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4)))
    assert structural_similarity(a, b) == pytest.approx(sum(terms) / channels)


def test_dynamic_range_is_the_unit_of_the_constants() -> None:
    a, b = 0.1 * np.random.default_rng(0).standard_normal((2, 30, 3))
    assert structural_similarity(100 * a, 100 * b, 100.0) == pytest.approx(structural_similarity(a, b))
    assert structural_similarity(a, b, 10.0) > structural_similarity(a, b)


def test_average_variance_by_hand() -> None:
    assert average_variance(np.array([[0.0, 5.0], [2.0, 5.0]])) == pytest.approx(0.5)
    assert average_variance(np.ones((7, 3))) == 0
    with pytest.raises(ValueError, match="sequence"):
        average_variance(np.ones(7))


def test_mouth_distance_counts_mouth_points_alone() -> None:
    real = np.zeros((4, 68, 3))
    moved = real.copy()
    moved[:, 50] = [3.0, 4.0, 0.0]
    moved[:, 40] = 100.0
    assert mouth_landmark_distance(moved, real) == pytest.approx(5 / 20)


def test_expression_landmarks_are_the_projection_of_the_face_at_rest(model: LandmarkModel) -> None:
    torch.manual_seed(0)
    expression = torch.randn(3, 64)
    projected = project(model.landmarks_68(expression), torch.zeros(3, 6)).numpy() - [128, 128, 0]
    assert np.allclose(expression_landmarks(model, expression.numpy()), projected, atol=1e-3)


def test_eye_brow_sequence_holds_22_points_and_sees_no_mouth(model: LandmarkModel) -> None:
    landmarks = expression_landmarks(model, np.zeros((2, 64), np.float32))
    sequence = eye_brow_sequence(landmarks)
    assert sequence.shape == (2, 44)
    assert np.array_equal(sequence[0, :2], landmarks[0, 17, :2].astype(np.float64))
    landmarks[:, 48:68] += 7
    assert np.array_equal(eye_brow_sequence(landmarks), sequence)


def _square_faces(frames: int) -> np.ndarray:  # type: ignore[type-arg]
    faces = np.random.default_rng(0).uniform(0, 256, (frames, 478, 3))
    faces[:, 33, :2], faces[:, 263, :2] = (80, 100), (180, 100)
    return faces


def test_landmark_error_is_a_share_of_the_eye_distance_and_skips_lost_frames() -> None:
    real = _square_faces(5)
    generated = real + np.array([3.0, 4.0, 9.0])
    assert landmark_error(generated, real) == pytest.approx(0.05)
    generated[2] = np.nan
    assert landmark_error(generated, real) == pytest.approx(0.05)


def test_even_motion_has_no_jitter_and_shaking_has_its_size() -> None:
    still = np.repeat(_square_faces(1), 6, 0)
    drifting = still + np.arange(6)[:, None, None]
    assert landmark_jitter(drifting) == pytest.approx(0, abs=1e-12)
    shaking = still.copy()
    shaking[::2, :, 0] += 1.0
    assert landmark_jitter(shaking) == pytest.approx(2 / 100, rel=0.02)
    assert landmark_jitter(still[:2]) == 0


def test_rhythm_is_one_where_speed_follows_loudness() -> None:
    level = torch.rand(80, generator=torch.Generator().manual_seed(0))
    rotation = torch.zeros(80, 3)
    rotation[:, 1] = level.cumsum(0)
    assert rhythm(rotation, level) == pytest.approx(1)
    assert rhythm(rotation, -level) == pytest.approx(-1)
    assert rhythm(rotation, torch.ones(80)) == 0


def test_identity_similarity_is_the_mean_cosine() -> None:
    source = np.array([2.0, 0.0])
    frames = np.array([[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]])
    assert identity_similarity(source, frames) == pytest.approx((1 + 0 - 1 + np.sqrt(0.5)) / 4)
    with pytest.raises(ValueError, match="zero"):
        identity_similarity(np.zeros(2), frames)
