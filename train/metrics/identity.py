"""CSIM: is it still the same person (section D.2)."""

import numpy as np
from numpy.typing import NDArray


def identity_similarity(source: NDArray[np.floating], frames: NDArray[np.floating]) -> float:
    """Mean cosine of the source image's identity embedding (D,) and those of the frames (T, D), in [-1, 1].

    Raises:
        ValueError: shapes do not fit, or an embedding is zero.
    """
    if frames.ndim != 2 or source.shape != frames.shape[1:] or not len(frames):
        raise ValueError(f"embeddings must be (D,) and (T, D), not {source.shape} and {frames.shape}")
    a, b = source.astype(np.float64), frames.astype(np.float64)
    lengths = np.linalg.norm(a) * np.linalg.norm(b, axis=1)
    if not lengths.all():
        raise ValueError("an identity embedding is zero")
    return float((b @ a / lengths).mean())
