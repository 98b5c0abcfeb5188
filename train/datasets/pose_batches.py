"""Batches of the pose and gaze diffusion: which frames are noised, what conditions them.

Two layouts:

    sequence   | noised, step n ......................... |   Eq. 2: residuals of the sequence's own first frame p_0
    stream     | known: clean, step 0 .......... | H new  |   as the engine samples: window after window

Shape suffixes: B rows, T frames, C channels, M prosody (320).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.audio import MEL_SILENCE
from train.datasets.batch_rng import BatchRng
from train.datasets.pose_tracks import MotionPart, Track, mirrored

_REST_FRAMES = 40.0
_TRANSLATION_STD, _TURN_STD = 0.3, 0.07


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAugmentation:
    """Shares of rows in the stream layout.

    Attributes:
        start: begin at the portrait's own pose after silence, as a session does.
        silence: hear silence all along.
        hop: frames that are new at the end of a window.
    """

    start: float
    silence: float
    hop: int


@dataclass(frozen=True, slots=True)
class MotionBatch:
    """Residuals (B, T, C) and initial poses (B, C) in plain units, prosody (B, T, 320); names of the share's clips."""

    residual_BTC: Tensor
    prosody_BTM: Tensor
    initial_BC: Tensor
    names: str


def draw_sequences(
    rng: BatchRng, tracks: Sequence[Track], weights: Tensor, part: MotionPart, rows: int, length: int
) -> MotionBatch:
    """Rows of the sequence layout: x_0 = p_1:T - p_0 with p_0 the sequence's first frame (section 3.1)."""
    picked = _Picks(rng, tracks, weights, rows)
    residuals, voices, initials = [], [], []
    for index in picked.chosen:
        track = tracks[index]
        start = rng.integer(len(track.motion) - length + 1)
        motion = track.motion[start : start + length]
        if rng.happens(0.5):
            motion = mirrored(motion, part)
        residuals.append(motion - motion[0])
        voices.append(picked.voice(track, start, length))
        initials.append(motion[0])
    return MotionBatch(torch.stack(residuals), torch.stack(voices), torch.stack(initials), picked.names)


def draw_windows(
    rng: BatchRng,
    tracks: Sequence[Track],
    weights: Tensor,
    part: MotionPart,
    rows: int,
    length: int,
    augmentation: StreamAugmentation,
) -> MotionBatch:
    """Rows of the stream layout: residuals about the track's centre, which stands for the portrait's own pose."""
    picked = _Picks(rng, tracks, weights, rows)
    residuals, voices, initials = [], [], []
    for index in picked.chosen:
        track = tracks[index]
        start = rng.integer(len(track.motion) - length + 1)
        motion = track.motion[start : start + length] - track.centre
        voice = picked.voice(track, start, length)
        if rng.happens(augmentation.silence):
            voice = torch.full_like(voice, MEL_SILENCE)
        initial = track.centre.clone()
        turn = initial[:3]
        if part == "pose":
            initial[3:] = _TRANSLATION_STD * torch.randn(3, generator=rng.generator)
        turn += _TURN_STD * torch.randn(turn.shape, generator=rng.generator)
        if rng.happens(augmentation.start):
            begin = rng.integer(length - augmentation.hop) + 1
            motion, voice = _started(motion, voice, begin)
        if rng.happens(0.5):
            motion, initial = mirrored(motion, part), mirrored(initial, part)
        residuals.append(motion * (0.85 + 0.3 * torch.rand(1, generator=rng.generator)))
        voices.append(voice)
        initials.append(initial)
    return MotionBatch(torch.stack(residuals), torch.stack(voices), torch.stack(initials), picked.names)


class _Picks:
    def __init__(self, rng: BatchRng, tracks: Sequence[Track], weights: Tensor, rows: int) -> None:
        self._rng = rng
        self.chosen = torch.multinomial(weights, rows, True, generator=rng.generator).tolist()
        self.names = ", ".join(sorted({tracks[index].name for index in self.chosen[rng.own_rows(rows)]}))
        self._voices = [track.prosody for track in tracks if track.prosody is not None]

    def voice(self, track: Track, start: int, length: int) -> Tensor:
        """The track's own voice, somebody's where it has none, silence where nobody speaks."""
        if track.prosody is not None:
            return track.prosody[start : start + length]
        if not self._voices:
            return torch.full((length, 320), MEL_SILENCE)
        other = self._voices[self._rng.integer(len(self._voices))]
        begin = self._rng.integer(len(other) - length + 1)
        return other[begin : begin + length]


def _started(motion: Tensor, voice: Tensor, begin: int) -> tuple[Tensor, Tensor]:
    """The window of a session whose frame 0 is at ``begin``: rest and silence before, then real motion from 0."""
    age = torch.arange(len(motion)) - begin
    offset = motion[begin] * torch.exp(-age.clamp(min=0) / _REST_FRAMES)[:, None]
    before = (age < 0)[:, None]
    motion = torch.where(before, torch.zeros_like(motion), motion - offset)
    return motion, torch.where(before, torch.full_like(voice, MEL_SILENCE), voice)
