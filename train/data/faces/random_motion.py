"""Random smooth motion of a head: expression, pose, gaze and blinks, in the landmark motion space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.space.coefficients import EXPRESSION_SIZE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import LOWER_LIDS_68, UPPER_LIDS_68
from engine.timebase import FRAME_RATE_HZ

FloatArray = NDArray[np.float32]

_BLINK = np.array([0.35, 0.85, 1.0, 0.8, 0.45, 0.15], np.float32)
"""How far the lids are closed in the frames of a blink."""
_LIMIT_DEVIATIONS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomMotion:
    """Size and pace of a random motion; deviations are standard deviations, cut at twice that.

    Attributes:
        frames: length at 25 frames a second.
        rotation_rad: deviation of pitch, yaw and roll about the portrait's own pose.
        shift: deviation of the translation in half crops; size: of the log scale.
        expression: deviation of each expression coefficient, itself in standard deviations of real faces.
        gaze_rad: deviation of a fixation from the camera; fixation_s: how long one lasts, least and most.
        blink_every_s: mean time between blinks.
        head_pace_s, face_pace_s: time constants of head and face.
    """

    frames: int = 32
    rotation_rad: tuple[float, float, float] = (0.09, 0.13, 0.06)
    shift: float = 0.05
    size: float = 0.04
    expression: float = 0.8
    gaze_rad: float = 0.16
    fixation_s: tuple[float, float] = (0.25, 1.2)
    blink_every_s: float = 2.5
    head_pace_s: float = 0.35
    face_pace_s: float = 0.12


def draw_motion(config: RandomMotion, rest: Coefficients, model: LandmarkModel, rng: np.random.Generator) -> FloatArray:
    """Motion descriptors float32 (T,72) of a portrait, around where it is in the image.

    Args:
        rest: the portrait in the landmark motion space.
    """
    frames = config.frames
    pace = config.head_pace_s * FRAME_RATE_HZ
    deviation = np.array([*config.rotation_rad, config.shift, config.shift, config.size], np.float32)
    pose = rest.pose + deviation * _smooth(rng, frames, 6, pace)
    expression = rng.uniform(0.3, 1.0) * rest.expression + rng.uniform(0.3, 1.0) * config.expression * _smooth(
        rng, frames, EXPRESSION_SIZE, config.face_pace_s * FRAME_RATE_HZ
    )
    expression = _blinked(expression.astype(np.float32), config, model, rng)
    return np.concatenate([expression, pose, _fixations(config, rng)], axis=1).astype(np.float32)


def _smooth(rng: np.random.Generator, frames: int, size: int, pace_frames: float) -> FloatArray:
    """(frames, size) Gaussian processes of unit deviation and Gaussian correlation, cut at the limit."""
    reach = max(1, int(np.ceil(3 * pace_frames)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(pace_frames, 1e-3)) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    noise = rng.standard_normal((frames + 2 * reach, size))
    columns = [np.convolve(noise[:, i], kernel, "valid") for i in range(size)]
    return np.stack(columns, 1).clip(-_LIMIT_DEVIATIONS, _LIMIT_DEVIATIONS).astype(np.float32)


def _blinked(
    expression: FloatArray, config: RandomMotion, model: LandmarkModel, rng: np.random.Generator
) -> FloatArray:
    """Close the lids now and then, by the least change of expression that does it."""
    upper, lower = list(UPPER_LIDS_68), list(LOWER_LIDS_68)
    with torch.inference_mode():
        basis = model.expression_basis_68
        slope = (basis[:, lower, 1] - basis[:, upper, 1]).mean(1).numpy()
        open_height = float((model.mean_68[lower, 1] - model.mean_68[upper, 1]).mean())
    closing = slope / np.square(slope).sum()
    frame = rng.exponential(config.blink_every_s) * FRAME_RATE_HZ
    while frame < config.frames:
        for step, closed in enumerate(_BLINK):
            at = int(frame) + step
            if at < config.frames:
                height = open_height + float(expression[at] @ slope)
                expression[at] -= (closed * max(height, 0.0) * closing).astype(np.float32)
        frame += len(_BLINK) + rng.exponential(config.blink_every_s) * FRAME_RATE_HZ
    return expression


def _fixations(config: RandomMotion, rng: np.random.Generator) -> FloatArray:
    """(frames, 2) camera gaze: held directions with jumps of two frames between them."""
    gaze = np.empty((config.frames, 2), np.float32)
    at = 0
    while at < config.frames:
        length = max(2, round(rng.uniform(*config.fixation_s) * FRAME_RATE_HZ))
        limit = _LIMIT_DEVIATIONS * config.gaze_rad
        gaze[at : at + length] = (config.gaze_rad * rng.standard_normal(2)).clip(-limit, limit)
        at += length
    gaze[1:] = (gaze[1:] + gaze[:-1]) / 2
    return gaze
