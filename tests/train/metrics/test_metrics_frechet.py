"""Frechet distance against closed forms and against the matrix square root itself."""

import numpy as np
import pytest
import scipy.linalg

from train.metrics import FeatureStatistics, feature_statistics, frechet_distance


def _features(count: int, size: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, size)) @ rng.standard_normal((size, size)) + rng.standard_normal(size)


def test_gaussians_with_diagonal_covariances_have_a_closed_form() -> None:
    a = FeatureStatistics(np.array([0.0, 1.0]), np.diag([1.0, 4.0]), 10)
    b = FeatureStatistics(np.array([3.0, 5.0]), np.diag([9.0, 16.0]), 10)
    # |(3, 4)|^2 + (1 - 3)^2 + (2 - 4)^2
    assert frechet_distance(a, b) == pytest.approx(25 + 4 + 4)


def test_equals_the_definition_by_matrix_square_root() -> None:
    a, b = feature_statistics(_features(200, 12, 0)), feature_statistics(_features(150, 12, 1))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_fewer_features_than_dimensions_stay_exact() -> None:
    x, y = _features(9, 40, 2), _features(7, 40, 3)
    # tr (C_1 C_2)^(1/2) is the nuclear norm of the two centred feature matrices' product.
    centred_x, centred_y = (x - x.mean(0)) / np.sqrt(8), (y - y.mean(0)) / np.sqrt(6)
    overlap = np.linalg.svd(centred_x @ centred_y.T, compute_uv=False).sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.square(centred_x).sum() + np.square(centred_y).sum()
    distance = frechet_distance(feature_statistics(x), feature_statistics(y))
    assert distance == pytest.approx(expected - 2 * overlap, rel=1e-6)


def test_same_features_are_at_distance_zero_and_noise_moves_away() -> None:
    x = _features(300, 8, 4)
    statistics = feature_statistics(x)
    assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-6)
    noise = np.random.default_rng(5).standard_normal(x.shape)
    near, far = (frechet_distance(statistics, feature_statistics(x + s * noise)) for s in (0.5, 2.0))
    assert 0 < near < far


def test_what_has_no_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        feature_statistics(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="4 and 5"):
        frechet_distance(feature_statistics(np.zeros((2, 4))), feature_statistics(np.zeros((2, 5))))
