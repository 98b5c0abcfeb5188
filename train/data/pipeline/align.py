"""Audio-video offset of every clip, estimated from the clips themselves.

A ridge regression from mel context to mouth opening is fitted on everybody but the clip's own speaker and slid over
the clip: the lag at which its prediction agrees best with the real mouth is the offset. Two or three rounds, since
better offsets make a better regression; the first round starts from loudness against opening. Only moments of the
features are kept, so the memory does not grow with the data; beyond 64 people they are left out in 64 groups.

    image    |0|1|2|3|4|5|6|        offset +2: what is seen in frame t is heard
    audio        |0|1|2|3|4|5|6|      at frame t + 2, so the audio is late
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.timebase import MEL_HOP_SAMPLES, SAMPLES_PER_FRAME

_log = logging.getLogger(__name__)
_CONTEXT_COLUMNS = np.arange(-12, 13, 3)
_COLUMNS_PER_FRAME = SAMPLES_PER_FRAME / MEL_HOP_SAMPLES
_BANDS = 20
_FEATURES = _BANDS * len(_CONTEXT_COLUMNS)
_MOST_FOLDS = 64

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentConfig:
    """Limits of the search.

    Attributes:
        max_offset_frames: lags searched either side.
        min_score: a clip whose best correlation is below this is refused.
        min_gain: a lag other than the prior must beat it by this much, where a prior is known.
        prior_reach_frames: how far from its prior a clip may end.
        ridge: penalty of the regression, in units of normalised features.
    """

    max_offset_frames: int = 10
    min_score: float = 0.2
    min_gain: float = 0.05
    prior_reach_frames: int = 2
    rounds: int = 3
    ridge: float = 3000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentClip:
    """One clip: mel (80, columns) from the wave as the file stamps it, opening (T,) in any unit, and its speaker."""

    person: str
    mel: FloatArray
    opening: FloatArray
    prior_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Offset:
    """Frames by which the audio is late, the correlation there, and why the clip is refused (empty: it is not)."""

    frames: int
    score: float
    refused: str = ""


def estimate_offsets(clips: Mapping[str, AlignmentClip], config: AlignmentConfig | None = None) -> dict[str, Offset]:
    """Estimate the offset of each clip; needs clips of at least two people (else loudness alone decides).

    Args:
        clips: any mapping; one that reads a clip when it is asked for keeps the memory small. Each is asked for
            a few times a round.
    """
    config = config or AlignmentConfig()
    lags = list(range(-config.max_offset_frames, config.max_offset_frames + 1))
    first = {name: _loudness_scores(clip, lags) for name, clip in clips.items()}
    offsets = {name: _choose(clips[name], lags, scores, config) for name, scores in first.items()}
    if len({clip.person for clip in clips.values()}) > 1:
        for _ in range(config.rounds):
            offsets = _refine(clips, offsets, lags, config)
    for name, offset in offsets.items():
        if offset.score < config.min_score:
            reason = f"cannot be aligned: best correlation {offset.score:.2f} below {config.min_score:.2f}"
            offsets[name] = Offset(offset.frames, offset.score, reason)
            _log.warning("clip %s %s", name, reason)
    return offsets


def _refine(
    clips: Mapping[str, AlignmentClip],
    offsets: Mapping[str, Offset],
    lags: Sequence[int],
    config: AlignmentConfig,
) -> dict[str, Offset]:
    people = sorted({clip.person for clip in clips.values()})
    fold_of = {person: index % _MOST_FOLDS for index, person in enumerate(people)}
    sums = [_Sums.empty() for _ in range(min(len(people), _MOST_FOLDS))]
    for name, clip in clips.items():
        context, heard = _context(clip, offsets[name].frames)
        sums[fold_of[clip.person]].add(context[heard], _standardise(clip.opening)[heard])
    total = _Sums.empty()
    for part in sums:
        total.merge(part, 1)
    regressions = []
    for part in sums:
        others = total.copy()
        others.merge(part, -1)
        regressions.append(others.solve(config.ridge))
    refined: dict[str, Offset] = {}
    for name, clip in clips.items():
        mean, std, weights = regressions[fold_of[clip.person]]
        target = _standardise(clip.opening)
        scores = []
        for lag in lags:
            context, heard = _context(clip, lag)
            predicted = np.asarray((context - mean) / std @ weights, np.float32)
            scores.append(_correlation(predicted[heard], target[heard]))
        refined[name] = _choose(clip, lags, scores, config)
    return refined


@dataclass(slots=True)
class _Sums:
    """What a ridge regression needs of any number of frames: counts and moments of features x and target y."""

    count: float
    x: NDArray[np.float64]
    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    y: float

    @classmethod
    def empty(cls) -> _Sums:
        return cls(0.0, np.zeros(_FEATURES), np.zeros((_FEATURES, _FEATURES)), np.zeros(_FEATURES), 0.0)

    def add(self, x: FloatArray, y: FloatArray) -> None:
        wide = x.astype(np.float64)
        self.merge(_Sums(len(x), wide.sum(0), wide.T @ wide, wide.T @ y.astype(np.float64), float(y.sum())), 1)

    def merge(self, other: _Sums, sign: int) -> None:
        self.count += sign * other.count
        self.x += sign * other.x
        self.xx += sign * other.xx
        self.xy += sign * other.xy
        self.y += sign * other.y

    def copy(self) -> _Sums:
        return _Sums(self.count, self.x.copy(), self.xx.copy(), self.xy.copy(), self.y)

    def solve(self, ridge: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean and deviation of the features, and the weights of the standardised ones."""
        mean = self.x / max(self.count, 1.0)
        variance = np.maximum(np.diagonal(self.xx) / max(self.count, 1.0) - mean**2, 0.0)
        std = np.sqrt(variance) + 1e-3
        gram = (self.xx - self.count * np.outer(mean, mean)) / np.outer(std, std)
        weights = np.linalg.solve(gram + ridge * np.eye(_FEATURES), (self.xy - mean * self.y) / std)
        return mean.astype(np.float32), std.astype(np.float32), weights.astype(np.float32)


def _choose(clip: AlignmentClip, lags: Sequence[int], scores: Sequence[float], config: AlignmentConfig) -> Offset:
    best = int(np.argmax(scores))
    prior = clip.prior_frames
    if prior is not None:
        near = [i for i, lag in enumerate(lags) if abs(lag - prior) <= config.prior_reach_frames]
        best = max(near, key=lambda i: scores[i])
        at_prior = lags.index(prior)
        if scores[best] < scores[at_prior] + config.min_gain:
            best = at_prior
    return Offset(lags[best], float(scores[best]))


def _loudness_scores(clip: AlignmentClip, lags: Sequence[int]) -> list[float]:
    loudness = clip.mel[:40].mean(0)
    scores = []
    for lag in lags:
        column, heard = _columns(clip, lag)
        scores.append(_correlation(loudness[np.clip(column, 0, len(loudness) - 1)][heard], clip.opening[heard]))
    return scores


def _columns(clip: AlignmentClip, lag: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    column = np.round(_COLUMNS_PER_FRAME * (np.arange(len(clip.opening)) + lag)).astype(np.int64)
    return column, (column >= 0) & (column < clip.mel.shape[1])


def _context(clip: AlignmentClip, lag: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(T, 20 bands x 9 columns) around each frame, and which frames have audio at this lag."""
    bands = clip.mel.reshape(_BANDS, 4, -1).mean(1)
    column, heard = _columns(clip, lag)
    index = np.clip(column[:, None] + _CONTEXT_COLUMNS, 0, bands.shape[1] - 1)
    return bands[:, index].transpose(1, 2, 0).reshape(len(column), -1), heard


def _standardise(x: FloatArray) -> FloatArray:
    return np.asarray((x - x.mean()) / (x.std() + 1e-6), np.float32)


def _correlation(a: FloatArray, b: FloatArray) -> float:
    if len(a) < 15 or a.std() < 1e-6 or b.std() < 1e-6:
        return -1.0
    return float(np.corrcoef(a, b)[0, 1])
