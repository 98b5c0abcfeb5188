"""Blinks in a curve of blink ratios: how often, how deep, how long."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.timebase import FRAME_RATE_HZ


@dataclass(frozen=True, slots=True)
class BlinkStatistics:
    """Blinks of one or more curves.

    Attributes:
        per_minute: rate.
        depth: median over blinks of the lowest ratio over the open ratio (0: closed, 1: open).
        frames: median length below 80 % of the open ratio, frames of 40 ms.
        open_ratio: median ratio of all frames.
    """

    per_minute: float
    depth: float
    frames: float
    open_ratio: float


def blink_statistics(curves: list[NDArray[np.float32]]) -> BlinkStatistics:
    """Count blinks: runs below 80 % of a curve's median that reach below 60 % of it."""
    depths: list[float] = []
    lengths: list[int] = []
    total = sum(len(curve) for curve in curves)
    for curve in curves:
        relative = curve / max(float(np.median(curve)), 1e-6)
        low = np.concatenate([[False], relative < 0.8, [False]])
        edges = np.flatnonzero(np.diff(low.astype(np.int8)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if relative[start:stop].min() < 0.6:
                depths.append(float(relative[start:stop].min()))
                lengths.append(int(stop - start))
    return BlinkStatistics(
        per_minute=60 * FRAME_RATE_HZ * len(depths) / max(total, 1),
        depth=float(np.median(depths)) if depths else 1.0,
        frames=float(np.median(lengths)) if lengths else 0.0,
        open_ratio=float(np.median(np.concatenate(curves))),
    )
