"""Structure and spread of motion sequences: SSIM_p, SSIM_e, Var_p, Var_e (sections 4.1 and D.1).

The similarity has the form of Eq. 26, which takes the structural similarity of Wang et al. 2004 over time, one channel
at a time. Its constants assume channels whose range is about 1: rotations in radians and places in halves of the crop
(poses), places as shares of the crop (landmarks of eyes and brows: `eye_brow_sequence` in pixels over 256).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SSIM_C1", "SSIM_C2", "average_variance", "structural_similarity"]

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
"""(K L)^2 of Wang et al. 2004 with K 0.01 and 0.03, and the range L = 1."""


def structural_similarity(generated: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """Structural similarity over time of two sequences (T, C), averaged over channels (the sum of Eq. 26).

    Returns:
        At most 1, which equal sequences reach.

    Raises:
        ValueError: shapes differ, or there are no two frames.
    """
    if generated.shape != real.shape or real.ndim != 2 or len(real) < 2:
        raise ValueError(
            f"sequences must be two arrays (T, C) of one shape, not {generated.shape}, {real.shape}"
        )
    a, b = generated.astype(np.float64), real.astype(np.float64)
    mean_a, mean_b = a.mean(0), b.mean(0)
    covariance = ((a - mean_a) * (b - mean_b)).mean(0)
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (a.var(0) + b.var(0) + SSIM_C2)
    return float((luminance * structure).mean())


def average_variance(sequence: NDArray[np.floating]) -> float:
    """Variance over time of each number of (T, C), averaged over the C numbers.

    Raises:
        ValueError: not (T, C) with at least one frame.
    """
    if sequence.ndim != 2 or not len(sequence):
        raise ValueError(f"variance needs a sequence (T, C), not an array {sequence.shape}")
    return float(sequence.astype(np.float64).var(0).mean())
