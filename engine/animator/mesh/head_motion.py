"""Rigid motion of the head between the portrait and a frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from engine.motion.space.pose import similarity_from_pose

Float64Array = npt.NDArray[np.float64]


def down_axis(rotation: Float64Array) -> Float64Array:
    """Unit vector (2,) in the image of the head's downward axis; rotation (3, 3) is from canonical head to camera."""
    axis = rotation[:2, 1]
    return np.asarray(axis / max(float(np.linalg.norm(axis)), 1e-6))


@dataclasses.dataclass(frozen=True, slots=True)
class HeadPlace:
    """A pose as the layers need it.

    Attributes:
        scale: px per face unit; rotation: (3, 3) canonical head to camera; centre_px: (3,) the head's origin.
    """

    scale: float
    rotation: Float64Array
    centre_px: Float64Array

    @classmethod
    def of(cls, pose: npt.NDArray[np.floating], crop_size: int) -> HeadPlace:
        """Of a pose (6,) of the motion space.

        The motion space counts from the corner of the image, the layers from the middle of the first pixel.
        """
        scale, rotation, centre_px = similarity_from_pose(
            torch.from_numpy(np.asarray(pose, dtype=np.float64)), crop_size
        )
        return cls(float(scale), rotation.numpy(), centre_px.numpy() - np.array([0.5, 0.5, 0.0]))

    def apply(self, shape: Float64Array) -> Float64Array:
        """Canonical points (N, 3) in face units to crop pixels."""
        return np.asarray(self.scale * (shape @ self.rotation.T) + self.centre_px)


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
    def between(cls, source: HeadPlace, target: HeadPlace) -> HeadMotion:
        """From the portrait's place to the shown one."""
        scale = target.scale / source.scale
        return cls(
            linear=scale * (target.rotation @ source.rotation.T),
            source_centre_px=source.centre_px,
            target_centre_px=target.centre_px,
            source_rotation=source.rotation,
            target_rotation=target.rotation,
            scale=scale,
        )

    def apply(self, points_px: npt.NDArray[np.floating]) -> Float64Array:
        """Move (..., 3) points fixed to the head, in crop pixels."""
        moved = (np.asarray(points_px, dtype=np.float64) - self.source_centre_px) @ self.linear.T
        return np.asarray(moved + self.target_centre_px)
