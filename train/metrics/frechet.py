"""Frechet distance between two sets of features (Dowson & Landau 1982); FID with Inception's (Heusel et al. 2017).

    d^2 = |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))

tr (C_1 C_2)^(1/2) = tr (C_1^(1/2) C_2 C_1^(1/2))^(1/2), whose matrix is symmetric, so it stays real where there are
fewer features than dimensions and the covariances are singular.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import MissingDependency


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean (D,) and covariance (D, D), float64, of ``count`` features."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int


def feature_statistics(features: NDArray[np.floating]) -> FeatureStatistics:
    """Statistics of features (N, D); the covariance divides by N - 1.

    Raises:
        ValueError: fewer than two features, or not two dimensions.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"statistics need at least two features (N, D), not an array {features.shape}")
    wide = features.astype(np.float64)
    mean = wide.mean(0)
    centred = wide - mean
    return FeatureStatistics(mean, centred.T @ centred / (len(wide) - 1), len(wide))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared Frechet distance of the two Gaussians; 0 for equal ones.

    Raises:
        MissingDependency: scipy is not installed. ValueError: features of different sizes.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features have {len(a.mean)} and {len(b.mean)} numbers")
    linalg = _scipy_linalg()
    values, vectors = linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    between = linalg.eigvalsh(root @ b.covariance @ root)
    # What rounding leaves of a zero eigenvalue would count by its square root, once a dimension.
    noise = max(float(between[-1]), 0.0) * len(between) * np.finfo(np.float64).eps
    overlap = np.sqrt(between[between > noise]).sum()
    shift = np.square(a.mean - b.mean).sum()
    return float(max(shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap, 0.0))


def _scipy_linalg() -> Any:
    try:
        import scipy.linalg
    except ImportError as error:
        raise MissingDependency("scipy is missing: pip install 'gohd-live[train]'") from error
    return scipy.linalg
