"""One prepared clip: features on the 25 fps grid and the mels that belong to them, in one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

__all__ = ["ClipFeatures", "MelVariant", "load_clip", "resample_motion", "save_clip"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MelVariant:
    """A mel (80, columns) of the clip's aligned sound, played at ``speed``; variant 0 is unchanged."""

    mel: FloatArray
    speed: float


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """Everything that the motion tasks need of one clip.

    Attributes:
        expression (T,64), pose (T,6), gaze (T,2), eye_feature (T,21): float32, landmark motion space.
        heard: bool (T,), frames whose sound is in the file after the offset was corrected.
        variants: mels aligned with the motion; empty for a clip without sound.
    """

    clip: str
    person: str
    split: str
    expression: FloatArray
    pose: FloatArray
    gaze: FloatArray
    eye_feature: FloatArray
    heard: NDArray[np.bool_]
    variants: tuple[MelVariant, ...]

    @property
    def frames(self) -> int:
        """Length at 25 fps."""
        return len(self.expression)


def save_clip(path: Path, clip: ClipFeatures) -> None:
    """Write a shard, replacing the file in one step; mels are stored in half precision."""
    tensors = {
        "expression": clip.expression,
        "pose": clip.pose,
        "gaze": clip.gaze,
        "eye_feature": clip.eye_feature,
        "heard": clip.heard.astype(np.uint8),
        "speed": np.array([variant.speed for variant in clip.variants], np.float64),
    }
    tensors |= {f"mel.{i}": variant.mel.astype(np.float16) for i, variant in enumerate(clip.variants)}
    partial = path.with_suffix(".partial")
    save_file(
        {key: np.ascontiguousarray(value) for key, value in tensors.items()},
        partial,
        metadata={"clip": clip.clip, "person": clip.person, "split": clip.split},
    )
    partial.replace(path)


def load_clip(path: Path, person: str, split: str) -> ClipFeatures:
    """Read a shard; person and split come from the manifest."""
    tensors = load_file(path)
    speeds = tensors["speed"].tolist()
    variants = tuple(
        MelVariant(tensors[f"mel.{i}"].astype(np.float32), float(speed)) for i, speed in enumerate(speeds)
    )
    return ClipFeatures(
        clip=path.stem,
        person=person,
        split=split,
        expression=tensors["expression"],
        pose=tensors["pose"],
        gaze=tensors["gaze"],
        eye_feature=tensors["eye_feature"],
        heard=tensors["heard"].astype(bool),
        variants=variants,
    )


def resample_motion(motion: FloatArray, speed: float) -> FloatArray:
    """Motion (T, ...) as it looks when the clip plays at ``speed``: linear between frames, still 25 a second."""
    if speed == 1.0:
        return motion
    frames = int((len(motion) - 1) / speed) + 1
    position = np.arange(frames) * speed
    low = np.minimum(position.astype(np.int64), len(motion) - 2)
    part = (position - low).reshape(-1, *[1] * (motion.ndim - 1)).astype(np.float32)
    return np.asarray(motion[low] * (1 - part) + motion[low + 1] * part, np.float32)
