"""A few frames of moving faces from the bundled portrait alone. For tests and the toy recipes."""

import functools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.animator import GeometricAnimator
from engine.motion.space.coefficients import EXPRESSION_SIZE, Coefficients
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceCrop, FaceLandmarker, crop_face, load_image
from engine.timebase import FRAME_RATE_HZ
from train.data.faces.face_clips import FaceClip, MemoryClip

FloatArray = NDArray[np.float32]

_PORTRAIT = Path(__file__).resolve().parents[3] / "engine" / "assets" / "portrait.jpg"
_POSE_REACH = np.array([0.1, 0.15, 0.07, 0.06, 0.06, 0.05], np.float32)
"""Largest change of pitch, yaw, roll (rad), shift (halves of the crop) and log scale."""
_EXPRESSION_REACH, _GAZE_REACH_RAD = 0.8, 0.25
_PACE_HZ = (1.0, 2.5)
"""Fast for a head, so that a few frames show motion."""


def synthetic_face_clips(*, clips: int = 2, frames: int = 6, seed: int = 0) -> list[FaceClip]:
    """Clips of the bundled portrait in other light and random motion, drawn by the geometric animator.

    Each counts as a person of its own and the last is held out. About 0.03 s a frame and half a second to start.
    """
    model, animator = _animator()
    made: list[FaceClip] = []
    for number in range(clips):
        rng = np.random.default_rng([seed, number])
        crop = _lit(_portrait(), rng)
        rest = model.fit(crop.landmarks_px)
        descriptors = _motion(rest, frames, rng)
        with torch.inference_mode():
            landmarks = model.landmarks(rest, torch.from_numpy(descriptors)).numpy()
        prepared = animator.prepare(crop, rest)
        images = np.stack([animator.render(prepared, descriptor[None]) for descriptor in descriptors])
        split = "held_out" if number == clips - 1 else "train"
        made.append(MemoryClip(f"synthetic-{number}", f"face-{number}", split, descriptors, landmarks, images))
    return made


@functools.cache
def _portrait() -> FaceCrop:
    image = load_image(_PORTRAIT)
    return crop_face(image, FaceLandmarker().detect(image))


@functools.cache
def _animator() -> tuple[LandmarkModel, GeometricAnimator]:
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    return model, GeometricAnimator(model)


def _lit(crop: FaceCrop, rng: np.random.Generator) -> FaceCrop:
    """The crop under another gamma, brightness and tint."""
    light = (crop.rgb / 255) ** rng.uniform(0.8, 1.25) * rng.uniform(0.7, 1.2) * rng.uniform(0.94, 1.06, 3)
    return FaceCrop(np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8), crop.landmarks_px, crop.matrix)


def _motion(rest: Coefficients, frames: int, rng: np.random.Generator) -> FloatArray:
    """Descriptors (T,72): every number swings about the portrait's own at a pace and phase of its own."""
    size = EXPRESSION_SIZE + len(_POSE_REACH) + 2
    time_s = np.arange(frames)[:, None] / FRAME_RATE_HZ
    swing = np.sin(2 * np.pi * (rng.uniform(*_PACE_HZ, size) * time_s + rng.uniform(0, 1, size)))
    reach = np.concatenate([np.full(EXPRESSION_SIZE, _EXPRESSION_REACH), _POSE_REACH, np.full(2, _GAZE_REACH_RAD)])
    # The portrait looks at the camera: gaze swings about 0.
    middle = np.concatenate([rest.expression, rest.pose, np.zeros(2)])
    descriptors: FloatArray = (middle + reach * swing).astype(np.float32)
    return descriptors
