"""How well a motion space holds people that its fit has not seen."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.space.landmark_basis import LandmarkBasis
from engine.motion.space.landmark_fit import LandmarkFitter, straighten_irises
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import IRIS_CENTRES
from train.motion_space.people import FaceData


@dataclass(frozen=True, slots=True)
class HeldOutReport:
    """Over people the fit has not seen.

    expression_held, expression_held_20: share of the variance of clip deviations that 64 and 20 components hold.
    clip_error, clip_error_20: mean distance in the image between measured landmarks and those rebuilt from identity,
        residual, expression and pose, over the distance between the pupils.
    still_error: the same for stills from identity and expression alone, without residual.
    blink_frames: frames of the clips with a blink ratio below 0.6 of their clip's median.
    frontal_gaze_rad: mean pitch and yaw of neutral stills that look into the camera.
    """

    expression_held: float
    expression_held_20: float
    clip_error: float
    clip_error_20: float
    still_error: float
    blink_frames: int
    frontal_gaze_rad: tuple[float, float]


def measure_held_out(space: LandmarkBasis, data: FaceData) -> HeldOutReport:
    """Measure ``space`` on ``data``, people that neither basis was fitted to."""
    model, fitter = LandmarkModel(space), LandmarkFitter(space)
    held: list[float] = []
    held_20: list[float] = []
    errors: list[float] = []
    errors_20: list[float] = []
    blinks = 0
    for clip in data.clips:
        neutral, frames, _ = fitter.separate(clip.landmarks.astype(np.float64))
        moved = straighten_irises(frames, space.mean) - straighten_irises(neutral, space.mean)
        found = model.fit_sequence(clip.landmarks)
        short = found.expression.copy()
        short[:, 20:] = 0
        for expression, share, error in ((found.expression, held, errors), (short, held_20, errors_20)):
            rebuilt = np.tensordot(expression, space.expression_basis, 1)
            share.append(1 - float(((moved - rebuilt) ** 2).sum() / (moved**2).sum()))
            descriptor = np.concatenate([expression, found.pose, found.gaze], 1)
            seen = model.landmarks(found, torch.from_numpy(descriptor)).numpy()
            error.append(_relative_error(seen, clip.landmarks))
        ratio = model.eye_feature(torch.from_numpy(found.expression))[:, 0].numpy()
        blinks += int((ratio < 0.6 * np.median(ratio)).sum())
    stills, gazes = [], []
    for still in data.stills:
        coefficients = model.fit(still.landmarks)
        shape = model.shape(torch.from_numpy(coefficients.identity), torch.from_numpy(coefficients.expression))
        seen = model.project(shape, torch.from_numpy(coefficients.pose)).numpy()
        stills.append(_relative_error(seen[None, :468], still.landmarks[None]))
        if still.kind == "neutral":
            gazes.append(coefficients.gaze)
    pitch, yaw = np.mean(gazes, axis=0)
    return HeldOutReport(
        expression_held=float(np.mean(held)),
        expression_held_20=float(np.mean(held_20)),
        clip_error=float(np.mean(errors)),
        clip_error_20=float(np.mean(errors_20)),
        still_error=float(np.mean(stills)),
        blink_frames=blinks,
        frontal_gaze_rad=(float(pitch), float(yaw)),
    )


def _relative_error(seen: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    left, right = IRIS_CENTRES
    between = np.linalg.norm(truth[:, left, :2] - truth[:, right, :2], axis=-1)
    distance = np.linalg.norm(seen[..., :2] - truth[:, : seen.shape[1], :2], axis=-1)
    return float((distance.mean(1) / between).mean())
