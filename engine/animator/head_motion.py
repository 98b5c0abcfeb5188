"""Rigid motion of the head between the portrait and a frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

__all__ = ["HeadMotion", "rotation_matrix"]

Float64Array = npt.NDArray[np.float64]


def rotation_matrix(rotation_vector: npt.NDArray[np.floating]) -> Float64Array:
    """Rodrigues' formula: rotation vector (3,), radians, to a (3, 3) matrix."""
    vector = np.asarray(rotation_vector, dtype=np.float64)
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-8:
        return np.asarray(np.eye(3) + cross)
    return np.asarray(
        np.eye(3) + np.sin(angle) / angle * cross + (1.0 - np.cos(angle)) / angle**2 * (cross @ cross)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class HeadMotion:
    """Similarity that carries a point of the resting head to where the moved head has it.

    Attributes:
        linear: (3, 3) scale times rotation, relative to the portrait.
        source_centre_px, target_centre_px: (3,) the head's origin before and after.
        source_rotation, target_rotation: (3, 3) canonical head to camera.
        scale: size relative to the portrait.

    Pixel centres are at integers here, so the middle of the crop is at (crop_size - 1) / 2.
    """

    linear: Float64Array
    source_centre_px: Float64Array
    target_centre_px: Float64Array
    source_rotation: Float64Array
    target_rotation: Float64Array
    scale: float

    @classmethod
    def between(
        cls, source_pose: npt.NDArray[np.floating], target_pose: npt.NDArray[np.floating], crop_size: int
    ) -> HeadMotion:
        """From two poses (6,): rotation vector in radians, tx, ty in half crops, log scale."""
        source_rotation = rotation_matrix(source_pose[:3])
        target_rotation = rotation_matrix(target_pose[:3])
        scale = float(np.exp(target_pose[5] - source_pose[5]))
        return cls(
            linear=scale * (target_rotation @ source_rotation.T),
            source_centre_px=_centre_px(source_pose, crop_size),
            target_centre_px=_centre_px(target_pose, crop_size),
            source_rotation=source_rotation,
            target_rotation=target_rotation,
            scale=scale,
        )

    def apply(self, points_px: npt.NDArray[np.floating]) -> Float64Array:
        """Move (..., 3) points fixed to the head, in crop pixels."""
        moved = (np.asarray(points_px, dtype=np.float64) - self.source_centre_px) @ self.linear.T
        return np.asarray(moved + self.target_centre_px)


def _centre_px(pose: npt.NDArray[np.floating], crop_size: int) -> Float64Array:
    half = crop_size / 2
    return np.array([half + half * float(pose[3]) - 0.5, half + half * float(pose[4]) - 0.5, 0.0])
