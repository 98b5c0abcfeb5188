"""One prepared clip: features on the 25 fps grid and the mels that belong to them, in one safetensors file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engine.errors import InputError
from train.data.storage.files import save_tensors

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MelVariant:
    """A mel (80, columns) of the clip's aligned audio, played at ``speed``; variant 0 is unchanged."""

    mel: FloatArray
    speed: float


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """Everything that the motion tasks need of one clip.

    Attributes:
        expression (T,64), pose (T,6), gaze (T,2): float32, in the motion space that the clips were prepared for.
        eye_feature (T,21): float32, measured on the landmarks in either space.
        heard: bool (T,), frames whose audio is in the file after the offset was corrected.
        variants: mels aligned with the motion; empty for a clip without audio.
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


def save_clip(path: Path, clip: ClipFeatures, metadata: Mapping[str, str] | None = None) -> None:
    """Write a shard, replacing the file in one step; mels are stored in half precision.

    Raises:
        OutputUnwritable: the disk is full or forbidden.
    """
    tensors: dict[str, NDArray[Any]] = {
        "expression": clip.expression,
        "pose": clip.pose,
        "gaze": clip.gaze,
        "eye_feature": clip.eye_feature,
        "heard": clip.heard.astype(np.uint8),
        "speed": np.array([variant.speed for variant in clip.variants], np.float64),
    }
    tensors |= {f"mel.{i}": variant.mel.astype(np.float16) for i, variant in enumerate(clip.variants)}
    named = {"clip": clip.clip, "person": clip.person, "split": clip.split}
    save_tensors(path, tensors, {**named, **(metadata or {})})


def load_clip(path: Path, person: str, split: str) -> ClipFeatures:
    """Read a shard; person and split come from the manifest.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}); prepare the clips again") from error
    speeds = tensors["speed"].tolist()
    variants = tuple(MelVariant(tensors[f"mel.{i}"].astype(np.float32), float(speed)) for i, speed in enumerate(speeds))
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
