"""The landmark motion space as a model: coefficients to landmarks, landmarks to coefficients, eye features.

S = S_mean + i B_id + e B_exp + residual over the 478 MediaPipe landmarks, the form of Eq. 10.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.motion.space.coefficients import EXPRESSION, GAZE, POSE, Coefficients, SequenceCoefficients
from engine.motion.space.gaze import camera_gaze_to_eye_in_head, iris_offset
from engine.motion.space.landmark_basis import LandmarkBasis, load_landmark_basis
from engine.motion.space.landmark_fit import LandmarkFitter
from engine.motion.space.landmark_table import (
    BROWS_68,
    IBUG_68,
    IRIS_LEFT,
    IRIS_RIGHT,
    LANDMARK_COUNT,
    LOWER_LIDS_68,
    UPPER_LIDS_68,
)
from engine.motion.space.pose import project


class LandmarkModel(nn.Module):
    """Linear 3-D face with float32 buffers; every tensor method is differentiable and batched over leading sizes."""

    mean: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    expression_mirror_sign: Tensor
    mean_68: Tensor
    expression_basis_68: Tensor
    rigid_indices: Tensor

    def __init__(self, basis: LandmarkBasis) -> None:
        super().__init__()
        self.eyeball_radius = float(basis.eyeball_radius)
        self._fitter = LandmarkFitter(basis)
        for name in ("mean", "identity_basis", "expression_basis", "expression_mirror_sign"):
            self.register_buffer(name, torch.from_numpy(getattr(basis, name).copy()))
        self.register_buffer("mean_68", self.mean[IBUG_68])
        self.register_buffer("expression_basis_68", self.expression_basis[:, IBUG_68].contiguous())
        self.register_buffer("rigid_indices", torch.from_numpy(basis.rigid_indices.copy()))

    @classmethod
    def load(cls, path: Path | str) -> LandmarkModel:
        """Read ``motion_space.safetensors``. Raises WeightsNotFound or WeightsCorrupt."""
        return cls(load_landmark_basis(Path(path)))

    def shape(self, identity: Tensor, expression: Tensor, residual: Tensor | None = None) -> Tensor:
        """Canonical shape (..., 478, 3) in face units of identity (..., 80) and expression (..., 64)."""
        shape = self.mean + _combine(identity, self.identity_basis) + _combine(expression, self.expression_basis)
        return shape if residual is None else shape + residual

    def project(self, shape: Tensor, pose: Tensor, crop_size: float = 256) -> Tensor:
        """Landmarks (..., N, 3) px of a shape (..., N, 3) in a pose (..., 6); depth is relative to the rigid points."""
        return project(shape, pose, crop_size)

    def landmarks(
        self, coefficients: Coefficients | SequenceCoefficients, descriptor: Tensor, crop_size: float = 256
    ) -> Tensor:
        """Landmarks (..., 478, 3) px of a person in the motion (..., 72), irises turned to the commanded gaze."""
        identity = torch.as_tensor(coefficients.identity)
        residual = torch.as_tensor(coefficients.residual)
        shape = self.shape(identity, descriptor[..., EXPRESSION], residual)
        pose = descriptor[..., POSE]
        offset = iris_offset(camera_gaze_to_eye_in_head(descriptor[..., GAZE], pose), self.eyeball_radius)
        if isinstance(coefficients, Coefficients):
            # This residual already holds the irises as they are in the image.
            own_gaze, own_pose = torch.as_tensor(coefficients.gaze), torch.as_tensor(coefficients.pose)
            offset = offset - iris_offset(camera_gaze_to_eye_in_head(own_gaze, own_pose), self.eyeball_radius)
        is_iris = torch.zeros(LANDMARK_COUNT, 1, dtype=shape.dtype, device=shape.device)
        is_iris[[*IRIS_LEFT, *IRIS_RIGHT]] = 1
        return self.project(shape + is_iris * offset[..., None, :], pose, crop_size)

    def landmarks_68(self, expression: Tensor) -> Tensor:
        """The iBUG-68 points (..., 68, 3) with pose and identity zero (paper section 3.2)."""
        return self.mean_68 + _combine(expression, self.expression_basis_68)

    def eye_feature(self, expression: Tensor) -> Tensor:
        """Handcrafted eye motion feature f_t (..., 21) of an expression (..., 64), paper Fig. 4.

        [0] blink ratio he_t / he_r: lid height, mean of both eyes, over that of the mean face; 1 at e = 0.
        [1:] x, y displacement of the ten brow points from the mean face, point by point, face units; 0 at e = 0.
        """
        return eye_motion_feature(self.landmarks_68(expression), self.mean_68)

    def mirror_expression(self, expression: Tensor) -> Tensor:
        """Expression (..., 64) of the mirrored face: each basis vector is symmetric or antisymmetric."""
        return expression * self.expression_mirror_sign

    def fit(self, landmarks_px: NDArray[np.floating], crop_size: float = 256) -> Coefficients:
        """Coefficients of one image from its landmarks (478, 3) px.

        Identity and expression are the maximum a posteriori solution under their Gaussian priors. What is left is
        stored as the residual, so ``project(shape(i, e, residual), pose)`` gives the landmarks back; their depth comes
        back relative to the centroid of the rigid points.
        """
        return self._fitter.image(_checked(landmarks_px, 2), crop_size)

    def fit_sequence(
        self,
        landmarks_px: NDArray[np.floating],
        identity: NDArray[np.floating] | None = None,
        crop_size: float = 256,
    ) -> SequenceCoefficients:
        """Coefficients of one person's clip from landmarks (T, 478, 3) px; frames with NaN are bridged linearly.

        Identity and residual come from the median of frames with the lips together and the eyes open, where e = 0.
        """
        return self._fitter.sequence(_bridge_gaps(_checked(landmarks_px, 3)), identity, crop_size)


def eye_motion_feature(points_68: Tensor, neutral_68: Tensor) -> Tensor:
    """Handcrafted eye motion feature f_t (..., 21) of the iBUG-68 points (..., 68, 3), paper Fig. 4.

    ``neutral_68`` (68, 3) are those of the face with expression zero, y down; displacements come in their unit.
    """
    ratio = _lid_height(points_68) / _lid_height(neutral_68)
    brows = points_68[..., BROWS_68, :2] - neutral_68[BROWS_68, :2]
    return torch.cat([ratio[..., None], brows.flatten(-2)], -1)


def _combine(coefficients: Tensor, basis: Tensor) -> Tensor:
    return (coefficients @ basis.flatten(1)).reshape(*coefficients.shape[:-1], *basis.shape[1:])


def _lid_height(points_68: Tensor) -> Tensor:
    return (points_68[..., LOWER_LIDS_68, 1] - points_68[..., UPPER_LIDS_68, 1]).mean(-1)


def _checked(landmarks_px: NDArray[np.floating], ndim: int) -> NDArray[np.float64]:
    landmarks = np.asarray(landmarks_px, np.float64)
    if landmarks.ndim != ndim or landmarks.shape[-2:] != (LANDMARK_COUNT, 3):
        raise ValueError(f"landmarks must be {'(T, 478, 3)' if ndim == 3 else '(478, 3)'}, got {landmarks.shape}")
    return landmarks


def _bridge_gaps(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = np.isfinite(landmarks).all((1, 2))
    if seen.all():
        return landmarks
    if not seen.any():
        raise ValueError("no frame has landmarks")
    frames = np.arange(len(landmarks))
    after = np.minimum(np.searchsorted(frames[seen], frames), seen.sum() - 1)
    before = np.maximum(np.searchsorted(frames[seen], frames, side="right") - 1, 0)
    start, stop = frames[seen][before], frames[seen][after]
    share = ((frames - start) / np.maximum(stop - start, 1)).clip(0, 1)[:, None, None]
    return np.asarray(landmarks[start] * (1 - share) + landmarks[stop] * share)
