"""Distances of landmarks: MLD, landmark error, jitter; and the eye and brow points that SSIM_e and Var_e look at.

MLD, SSIM_e and Var_e take landmarks of the expression alone, pose and identity zero (section 3.2), so that a turned
head or another face costs nothing. Landmark error and jitter take landmarks in the image.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import EYES_AND_BROWS_68, IBUG_68, LIPS_68, OUTER_CORNERS
from engine.motion.space.pose import REFERENCE_SCALE

_CROP_PX = 256

FloatArray = NDArray[np.floating]


def expression_landmarks(model: LandmarkModel, expression: FloatArray) -> NDArray[np.float32]:
    """iBUG-68 landmarks (T, 68, 3) of expressions (T, 64) with pose and identity zero.

    In pixels of a 256 x 256 crop in which the face stands at tz = 0: 89.6 px a face unit; the origin is the mean
    face's.
    """
    with torch.no_grad():
        points = model.landmarks_68(torch.from_numpy(np.ascontiguousarray(expression, np.float32)))
    return np.asarray(points.numpy() * np.float32(REFERENCE_SCALE * _CROP_PX))


def mouth_landmark_distance(generated: FloatArray, real: FloatArray) -> float:
    """MLD: mean distance of the 20 mouth landmarks (iBUG 48..67) over points and frames.

    Args:
        generated, real: (T, 68, 2 or 3), in any unit, which is that of the result (`expression_landmarks`: px).
    """
    if generated.shape != real.shape:
        raise ValueError(f"landmarks must have one shape, not {generated.shape} and {real.shape}")
    return float(np.linalg.norm(generated[:, LIPS_68] - real[:, LIPS_68], axis=-1).mean())


def eye_brow_sequence(landmarks: FloatArray) -> NDArray[np.float64]:
    """What SSIM_e and Var_e compare: x, y of eyes and brows (iBUG 17..26, 36..47) of (T, 68, 2 or 3), as (T, 44)."""
    points = landmarks[:, list(EYES_AND_BROWS_68), :2].astype(np.float64)
    return points.reshape(len(points), -1)


def landmark_error(generated_px: FloatArray, real_px: FloatArray) -> float:
    """Mean distance of the 68 landmarks over the inter-ocular distance of the real face, averaged over frames.

    Args:
        generated_px, real_px: (T, 478, 3) or (T, 478, 2), pixels of images of one size; NaN frames are left out.
    """
    distance = np.linalg.norm(generated_px[:, IBUG_68, :2] - real_px[:, IBUG_68, :2], axis=-1).mean(1)
    return float(np.nanmean(distance / inter_ocular_px(real_px)))


def landmark_jitter(landmarks_px: FloatArray) -> float:
    """Mean length of the second difference over time of the 68 landmarks, over the inter-ocular distance.

    0 for a still face and for one that moves evenly; frames next to NaN are left out.
    """
    if len(landmarks_px) < 3:
        return 0.0
    bend = np.diff(landmarks_px[:, IBUG_68, :2], n=2, axis=0)
    return float(np.nanmean(np.linalg.norm(bend, axis=-1)) / np.nanmean(inter_ocular_px(landmarks_px)))


def inter_ocular_px(landmarks_px: FloatArray) -> NDArray[np.float64]:
    """Distance (T,) of the outer eye corners of landmarks (T, 478, 2 or 3)."""
    left, right = OUTER_CORNERS
    return np.asarray(np.linalg.norm(landmarks_px[:, left, :2] - landmarks_px[:, right, :2], axis=-1))
