"""Still portraits that move: endless (photo, moved photo, motion) examples from the geometric animator.

portrait -> place, mirror, light, background -> one random motion -> geometric animator -> frames with exact labels
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.animator.mesh.geometric import GeometricAnimator, PreparedPortrait
from engine.motion.space.coefficients import Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import mirror_landmarks
from engine.motion.space.motion_space import BUNDLED_MOTION_SPACE
from engine.portrait import FaceCrop
from train.data.faces.backdrop import replace_plain_background
from train.data.faces.random_motion import RandomMotion, draw_motion

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]

_PREPARED_PORTRAITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StillConfig:
    """How a still portrait is varied before it moves; each range is drawn once a clip.

    Attributes:
        motion: the motion itself.
        mirror_probability: left and right swapped.
        scale, shift, roll_rad: place of the head in the crop: factor, share of the crop, radians either side.
        gain, gamma: brightness; tint: per colour, a factor of 1 +- this; slope: of the light across the image.
        background_probability: a plain background is replaced (one that is not plain stays).
    """

    motion: RandomMotion = field(default_factory=RandomMotion)
    mirror_probability: float = 0.5
    scale: tuple[float, float] = (0.9, 1.1)
    shift: float = 0.04
    roll_rad: float = 0.08
    gain: tuple[float, float] = (0.7, 1.2)
    gamma: tuple[float, float] = (0.8, 1.25)
    tint: float = 0.06
    slope: float = 0.2
    background_probability: float = 0.5


@dataclass(frozen=True, slots=True)
class StillPortrait:
    """A portrait's crop: rgb uint8 (256,256,3) and its landmarks float32 (478,3) in crop px."""

    name: str
    person: str
    split: str
    rgb: ImageArray
    landmarks_px: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StillClip:
    """A `FaceClip` made from one portrait; the same (portrait, config, seed) is the same clip.

    Frames are rendered when they are asked for, some 25 to 60 ms each on a processor core.
    """

    clip: str
    portrait: StillPortrait
    config: StillConfig
    seed: int
    motion_space: Path = BUNDLED_MOTION_SPACE

    @property
    def person(self) -> str:
        """Label of the person in the portrait."""
        return self.portrait.person

    @property
    def split(self) -> str:
        """Side of the split."""
        return self.portrait.split

    @property
    def frames(self) -> int:
        """T."""
        return self.config.motion.frames

    @property
    def descriptors(self) -> FloatArray:
        """float32 (T,72): the motion that is rendered."""
        return _moved(self).descriptors

    @property
    def landmarks_px(self) -> FloatArray:
        """float32 (T,478,3), crop px; where the animator puts them, not measured on the result."""
        return _moved(self).landmarks_px

    @property
    def pictured(self) -> NDArray[np.int64]:
        """int64 (T,): every frame."""
        return np.arange(self.frames)

    def rgb(self, frame: int) -> ImageArray:
        """Crop of a frame, uint8 (256,256,3). Raises IndexError."""
        if not 0 <= frame < self.frames:
            raise IndexError(f"clip {self.clip} has {self.frames} frames, no frame {frame}")
        moved = _moved(self)
        return moved.animator.render(moved.prepared, moved.descriptors[frame : frame + 1])


def still_clips(
    portraits: Sequence[StillPortrait],
    config: StillConfig | None = None,
    *,
    clips_per_portrait: int = 1,
    seed: int = 0,
) -> list[StillClip]:
    """Clips of every portrait, named PORTRAIT-NUMBER."""
    config = config or StillConfig()
    return [
        StillClip(clip=f"{portrait.name}-{number}", portrait=portrait, config=config, seed=seed)
        for portrait in portraits
        for number in range(clips_per_portrait)
    ]


@dataclass(frozen=True, slots=True)
class _Moved:
    animator: GeometricAnimator
    prepared: PreparedPortrait
    descriptors: FloatArray
    landmarks_px: FloatArray


@functools.lru_cache(maxsize=_PREPARED_PORTRAITS)
def _moved(clip: StillClip) -> _Moved:
    """The varied portrait cut into layers and its motion; a few are kept."""
    rng = np.random.default_rng([clip.seed, *clip.clip.encode()])
    model, animator = _animator(clip.motion_space)
    crop = _varied(clip.portrait, clip.config, rng)
    coefficients = model.fit(crop.landmarks_px)
    descriptors = draw_motion(clip.config.motion, coefficients, model, rng)
    landmarks = _landmarks(model, coefficients, descriptors)
    return _Moved(animator, animator.prepare(crop, coefficients), descriptors, landmarks)


@functools.cache
def _animator(motion_space: Path) -> tuple[LandmarkModel, GeometricAnimator]:
    model = LandmarkModel.load(motion_space)
    return model, GeometricAnimator(model)


@torch.inference_mode()
def _landmarks(model: LandmarkModel, coefficients: Coefficients, descriptors: FloatArray) -> FloatArray:
    landmarks: FloatArray = model.landmarks(coefficients, torch.from_numpy(descriptors)).numpy()
    return landmarks


def _varied(portrait: StillPortrait, config: StillConfig, rng: np.random.Generator) -> FaceCrop:
    rgb, landmarks = portrait.rgb, portrait.landmarks_px
    if rng.random() < config.mirror_probability:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
        landmarks = mirror_landmarks(landmarks, rgb.shape[1]).astype(np.float32)
    replaced = rng.random() < config.background_probability
    background_rng = rng.spawn(1)[0]
    if replaced:
        rgb = replace_plain_background(rgb, landmarks, background_rng)
    rgb, landmarks, matrix = _placed(rgb, landmarks, config, rng)
    return FaceCrop(_lit(rgb, config, rng), landmarks, matrix)


def _placed(
    rgb: ImageArray, landmarks: FloatArray, config: StillConfig, rng: np.random.Generator
) -> tuple[ImageArray, FloatArray, FloatArray]:
    """Head moved, turned and scaled within the crop; the picture's edge is continued."""
    size = rgb.shape[0]
    scale, roll = rng.uniform(*config.scale), rng.uniform(-config.roll_rad, config.roll_rad)
    shift = rng.uniform(-config.shift, config.shift, 2) * size
    turn = scale * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    middle = np.full(2, size / 2)
    matrix = np.concatenate([turn, (middle + shift - turn @ middle)[:, None]], 1)
    # OpenCV counts from the middle of the first pixel, landmarks from its corner.
    in_pixels = matrix.copy()
    in_pixels[:, 2] += turn @ [0.5, 0.5] - 0.5
    moved = cv2.warpAffine(rgb, in_pixels, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    points = np.concatenate([landmarks[:, :2] @ turn.T + matrix[:, 2], landmarks[:, 2:] * scale], 1)
    return np.asarray(moved, np.uint8), points.astype(np.float32), matrix.astype(np.float32)


def _lit(rgb: ImageArray, config: StillConfig, rng: np.random.Generator) -> ImageArray:
    size = rgb.shape[0]
    light = (rgb.astype(np.float32) / 255) ** np.float32(rng.uniform(*config.gamma))
    light *= np.float32(rng.uniform(*config.gain))
    light *= rng.uniform(1 - config.tint, 1 + config.tint, 3).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    place = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = np.cos(angle) * place[None, :] + np.sin(angle) * place[:, None]
    light *= (1 + 2 * rng.uniform(0, config.slope) * across)[..., None].astype(np.float32)
    return np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8)
