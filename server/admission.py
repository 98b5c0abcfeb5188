"""How many sessions this machine can serve: from what a frame costs, measured, not from hope.

    one session   25 frames a second, each  render + encode  on one core
    capacity      cores * share / that

Measured once at start; and again from the sessions that run, whose frames cost what they cost under the real load: that
counts as soon as there is one. The first session is always let in: it may run late, but it runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from aiortc.codecs.h264 import H264Encoder

__all__ = ["FrameCost", "capacity", "cores", "measure_encoder_ms"]

FRAME_MS = 40.0

_SHARE = 0.8
_WARM_UP_FRAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCost:
    """Milliseconds of one core that one frame of one session takes."""

    render_ms: float
    encode_ms: float

    @property
    def total_ms(self) -> float:
        return self.render_ms + self.encode_ms


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def capacity(cost: FrameCost, core_count: int, limit: int | None = None) -> int:
    """Sessions that fit; at least one, at most ``limit``."""
    fits = int(_SHARE * core_count * FRAME_MS / max(cost.total_ms, 1e-3))
    return max(1, fits if limit is None else min(fits, limit))


def measure_encoder_ms(
    frames: list[npt.NDArray[np.uint8]], now_s: Callable[[], float] = time.perf_counter
) -> float:
    """Median time to encode one of ``frames`` (uint8 (H, W, 3)) as they are sent."""
    encoder = H264Encoder()
    times_ms = []
    for index, rgb in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
        began_s = now_s()
        encoder.encode(frame)
        times_ms.append(1e3 * (now_s() - began_s))
    return float(np.median(times_ms[_WARM_UP_FRAMES:] or times_ms or [0.0]))
