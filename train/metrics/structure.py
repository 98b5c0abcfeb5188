"""Structure and spread of motion sequences: SSIM_p, SSIM_e, Var_p, Var_e (sections 4.1 and D.1).

The similarity has the form of Eq. 26, which takes the structural similarity of Wang et al. 2004 over time, one channel
at a time. Its constants are (0.01 L)^2 and (0.03 L)^2 with L the range that a channel can have, which the paper does
not give. Here it is 1 for places as shares of the crop (SSIM_e: `eye_brow_sequence` in pixels over 256) and a full turn
for rotations in radians (SSIM_p: the paper's detector is a full-range one).
"""

import math

import numpy as np
from numpy.typing import NDArray

ROTATION_RANGE_RAD = 2 * math.pi
_K1, _K2 = 0.01, 0.03


def structural_similarity(
    generated: NDArray[np.floating], real: NDArray[np.floating], dynamic_range: float = 1.0
) -> float:
    """Structural similarity over time of two sequences (T, C), averaged over channels (the sum of Eq. 26).

    Args:
        dynamic_range: L of the constants, in the unit of the sequences.

    Returns:
        At most 1, which equal sequences reach.

    Raises:
        ValueError: shapes differ, or there are no two frames.
    """
    if generated.shape != real.shape or real.ndim != 2 or len(real) < 2:
        raise ValueError(f"sequences must be two arrays (T, C) of one shape, not {generated.shape}, {real.shape}")
    a, b = generated.astype(np.float64), real.astype(np.float64)
    mean_a, mean_b = a.mean(0), b.mean(0)
    covariance = ((a - mean_a) * (b - mean_b)).mean(0)
    c1, c2 = (_K1 * dynamic_range) ** 2, (_K2 * dynamic_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (a.var(0) + b.var(0) + c2)
    return float((luminance * structure).mean())


def average_variance(sequence: NDArray[np.floating]) -> float:
    """Variance over time of each number of (T, C), averaged over the C numbers.

    Raises:
        ValueError: not (T, C) with at least one frame.
    """
    if sequence.ndim != 2 or not len(sequence):
        raise ValueError(f"variance needs a sequence (T, C), not an array {sequence.shape}")
    return float(sequence.astype(np.float64).var(0).mean())
