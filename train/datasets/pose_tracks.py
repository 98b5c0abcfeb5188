"""Head poses or gazes of clips as sequences to learn: smoothed, at several speeds, each with its voice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.networks.prosody import PROSODY_COLUMNS, mel_windows, prosody_columns
from train.data.faces.mirror import mirror_gaze, mirror_pose
from train.data.storage.shards import ClipFeatures, resample_motion

MotionPart = Literal["pose", "gaze"]

_SILENT_SPEEDS = (1.0, 0.88, 1.14)


@dataclass(frozen=True, slots=True)
class Track:
    """One sequence.

    Attributes:
        motion: float32 (T, C), in plain units; centre: its median over time, (C,).
        prosody: float32 (T, 320), None for a clip without audio.
        weight: how much a frame of it counts.
    """

    motion: Tensor
    centre: Tensor
    prosody: Tensor | None
    name: str
    weight: float


def clip_tracks(
    clip: ClipFeatures,
    part: MotionPart,
    *,
    smoothing_frames: float,
    delay_frames: int,
    variants: bool,
    short_clip_weight: float,
    long_frames: int,
) -> list[Track]:
    """Tracks of a clip; the first one plays at its own speed.

    Args:
        variants: one more for each augmented audio, or two other speeds of a clip without audio.
        short_clip_weight: weight of clips shorter than ``long_frames``, in which people hardly move.
    """
    motion = smoothed(clip.pose if part == "pose" else clip.gaze, smoothing_frames)
    centre = torch.from_numpy(np.median(motion, 0))
    short = clip.frames < long_frames
    audio: list[tuple[float, NDArray[np.float32] | None]] = [(v.speed, v.mel) for v in clip.variants]
    audio = audio or [(speed, None) for speed in _SILENT_SPEEDS]
    tracks = []
    for index, (speed, mel) in enumerate(audio if variants else audio[:1]):
        moved = torch.from_numpy(resample_motion(motion, speed))
        prosody = None
        if mel is not None:
            first, _ = prosody_columns(torch.arange(len(moved)), delay_frames)
            prosody = mel_windows(torch.from_numpy(mel), first, PROSODY_COLUMNS).transpose(1, 2).flatten(1)
        weight = short_clip_weight if short else 1.0
        if mel is not None and index and not short:
            weight /= 3
        tracks.append(Track(moved, centre, prosody, clip.clip, weight))
    return tracks


def rms(tracks: Sequence[Track], weights: Tensor) -> Tensor:
    """Root mean square (C,) about each track's centre, tracks weighted."""
    squares = torch.stack([(track.motion - track.centre).square().mean(0) for track in tracks])
    return (squares * weights[:, None]).sum(0).sqrt()


def mirrored(motion: Tensor, part: MotionPart) -> Tensor:
    """Motion (..., C) of the mirrored face."""
    return mirror_pose(motion) if part == "pose" else mirror_gaze(motion)


def smoothed(motion: NDArray[np.float32], sigma_frames: float) -> NDArray[np.float32]:
    """Gaussian over time, edges repeated; (T, C) to (T, C) float32."""
    if sigma_frames <= 0:
        return motion
    reach = math.ceil(3 * sigma_frames)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(motion, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(padded[:, c], kernel, "valid") for c in range(motion.shape[1])]
    return np.stack(columns, 1).astype(np.float32)
