"""A few frames of moving faces from the bundled portrait alone. For tests and the toy recipes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.portrait import FaceLandmarker, crop_face, load_image
from train.data.face_clips import FaceClip
from train.data.random_motion import RandomMotion
from train.data.still_clips import StillClip, StillConfig, StillPortrait

__all__ = ["synthetic_face_clips"]

_PORTRAIT = Path(__file__).resolve().parents[2] / "engine" / "assets" / "portrait.jpg"

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _RenderedClip:
    clip: str
    person: str
    split: str
    descriptors: FloatArray
    landmarks_px: FloatArray
    pictures: ImageArray

    @property
    def frames(self) -> int:
        return len(self.pictures)

    @property
    def pictured(self) -> NDArray[np.int64]:
        return np.arange(self.frames)

    def rgb(self, frame: int) -> ImageArray:
        if not 0 <= frame < self.frames:
            raise IndexError(f"clip {self.clip} has {self.frames} frames, no frame {frame}")
        return np.asarray(self.pictures[frame], np.uint8)


def synthetic_face_clips(*, clips: int = 2, frames: int = 6, seed: int = 0) -> list[FaceClip]:
    """Clips of the bundled portrait in other light and motion, rendered at once and kept in memory.

    Each counts as a person of its own and the last is held out. About 0.02 s a frame and half a second to start.

    Raises:
        MissingDependency: MediaPipe is not installed.
    """
    landmarker = FaceLandmarker()
    picture = load_image(_PORTRAIT)
    crop = crop_face(picture, landmarker.detect(picture))
    landmarker.close()
    config = StillConfig(motion=RandomMotion(frames=frames, blink_every_s=1.0))
    made: list[FaceClip] = []
    for number in range(clips):
        split = "held_out" if number == clips - 1 else "train"
        portrait = StillPortrait("portrait", f"face-{number}", split, crop.rgb, crop.landmarks_px)
        still = StillClip(clip=f"synthetic-{number}", portrait=portrait, config=config, seed=seed)
        made.append(
            _RenderedClip(
                clip=still.clip,
                person=still.person,
                split=still.split,
                descriptors=still.descriptors,
                landmarks_px=still.landmarks_px,
                pictures=np.stack([still.rgb(frame) for frame in range(frames)]),
            )
        )
    return made
