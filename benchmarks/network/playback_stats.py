"""Figures of smoothness, delay and lip sync from what a viewer noted (pure functions of ``browser_viewer``'s report).

- A freeze is a frame that stays for longer than three times the usual and 150 ms more than it, whichever is longer
  (as WebRTC's ``totalFreezesDuration`` counts them); the usual is the mean of the last 30.
- Latency is from a frame's own time (its RTP time stamp) to its moment on the screen. The two clocks are tied together
  by the fastest packet before the impairment, so encoding and the bare loopback, a few milliseconds, are left out.
- Skew is audio minus video by the receiver's own estimates of what it plays: positive is audio too early.
- Recovery is from the end of the impairment to the frame from which on one second passes without a freeze, at a
  latency of less than half a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_VIDEO_HZ = 90_000
_USUAL_FRAMES = 30
_FREEZE_S, _FREEZE_TIMES = 0.150, 3.0
_STEADY_S, _STEADY_LATENCY_S = 1.0, 0.5

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStats:
    """Figures of the impaired time, ``recovery_s`` of what comes after it (None: did not recover)."""

    fps: float
    longest_freeze_ms: float
    frozen_share: float
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_max_ms: float | None
    skew_p50_ms: float | None
    skew_worst_ms: float | None
    audio_concealed_share: float
    recovery_s: float | None
    width_px_least: int


def find_freezes(shown_s: Sequence[float] | FloatArray) -> list[tuple[float, float]]:
    """Beginning and length in seconds of each freeze between frames shown at ``shown_s``."""
    freezes = []
    gaps = np.diff(np.asarray(shown_s, np.float64))
    for index, gap in enumerate(gaps):
        before = gaps[max(0, index - _USUAL_FRAMES) : index]
        usual = float(before.mean()) if len(before) else 0.04
        if gap >= max(_FREEZE_TIMES * usual, usual + _FREEZE_S):
            freezes.append((float(shown_s[index]), float(gap)))
    return freezes


def playback_stats(report: dict[str, Any], begin_s: float, end_s: float) -> PlaybackStats:
    """The figures of ``report`` for an impairment from ``begin_s`` to ``end_s`` (Unix seconds)."""
    notes = np.array(report["frames"], np.float64)
    shown, received = notes[:, 0], notes[:, 1]
    rtp = np.unwrap(notes[:, 2], period=2.0**32) / _VIDEO_HZ
    clean = shown < begin_s
    latency = shown - rtp - np.nanmin((received - rtp)[clean])
    meant = (shown >= begin_s) & (shown < end_s)
    # The frame that stood when the impairment began counts, and the last one until the next came.
    after = shown[shown >= end_s]
    inner = [*shown[clean][-1:], *shown[meant], *(after[:1] if len(after) else [end_s])]
    frozen_s = sum(max(0.0, min(at + length, end_s) - max(at, begin_s)) for at, length in find_freezes(inner))
    p50, p95, most = np.percentile(1e3 * latency[meant], (50, 95, 100)) if meant.any() else (None,) * 3
    skews = _skews_ms(report["samples"], begin_s, end_s)
    return PlaybackStats(
        fps=round(float(meant.sum()) / (end_s - begin_s), 2),
        longest_freeze_ms=round(1e3 * float(np.diff(inner).max())),
        frozen_share=round(frozen_s / (end_s - begin_s), 4),
        latency_p50_ms=None if p50 is None else round(p50),
        latency_p95_ms=None if p95 is None else round(p95),
        latency_max_ms=None if most is None else round(most),
        skew_p50_ms=round(float(np.median(skews))) if len(skews) else None,
        skew_worst_ms=round(float(skews[np.abs(skews).argmax()])) if len(skews) else None,
        audio_concealed_share=round(_concealed(report["samples"], begin_s, end_s), 4),
        recovery_s=_recovery_s(shown, latency, end_s),
        width_px_least=int(notes[meant, 3].min()) if meant.any() else 0,
    )


def _recovery_s(shown: FloatArray, latency: FloatArray, end_s: float) -> float | None:
    frozen = find_freezes(shown)
    for at, late in zip(shown, latency, strict=True):
        if at < end_s or late > _STEADY_LATENCY_S:
            continue
        if at + _STEADY_S > shown[-1]:
            return None
        window = (shown >= at) & (shown < at + _STEADY_S)
        calm = not any(at <= begin < at + _STEADY_S for begin, _ in frozen)
        if calm and float(latency[window].max()) <= _STEADY_LATENCY_S:
            return round(float(at - end_s), 2)
    return None


def _between(samples: list[dict[str, Any]], begin_s: float, end_s: float) -> list[dict[str, Any]]:
    return [sample for sample in samples if begin_s <= sample["time"] <= end_s]


def _skews_ms(samples: list[dict[str, Any]], begin_s: float, end_s: float) -> FloatArray:
    skews = []
    for sample in _between(samples, begin_s, end_s):
        audio, image = (sample[kind]["estimatedPlayoutTimestamp"] for kind in ("audio", "video"))
        if audio and image:
            skews.append(audio - image)
    return np.array(skews)


def _concealed(samples: list[dict[str, Any]], begin_s: float, end_s: float) -> float:
    within = _between(samples, begin_s, end_s)
    if len(within) < 2:
        return 0.0
    first, last = (within[index]["audio"] for index in (0, -1))
    total = (last["totalSamplesReceived"] or 0) - (first["totalSamplesReceived"] or 0)
    return ((last["concealedSamples"] or 0) - (first["concealedSamples"] or 0)) / total if total else 0.0
