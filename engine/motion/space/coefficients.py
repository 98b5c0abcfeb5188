"""What the landmark motion space knows about one image, and about one clip.

Motion descriptor q, (72,) float32:

    | expression e 64 | pose p 6 | gaze g 2 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

IDENTITY_SIZE: Final = 80
EXPRESSION_SIZE: Final = 64
DESCRIPTOR_SIZE: Final = 72
EXPRESSION: Final = slice(0, 64)
POSE: Final = slice(64, 70)
GAZE: Final = slice(70, 72)

_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One image in the landmark motion space; all float32.

    identity (80,) and expression (64,): in standard deviations.
    pose (6,): rotation vector in radians, translation in half crops, log scale (see ``engine.motion.space.pose``).
    gaze (2,): pitch, yaw in radians in the camera frame (see ``engine.motion.space.gaze``).
    residual (478, 3): what the bases do not hold, in face units; the irises stand as they do in the image.
    """

    identity: _Array
    expression: _Array
    pose: _Array
    gaze: _Array
    residual: _Array

    @classmethod
    def from_descriptor(cls, descriptor: NDArray[np.floating]) -> Coefficients:
        """Coefficients of an image of which only the descriptor (72,) is known, as in the bfm space.

        Raises:
            ValueError: another shape, or values that are not finite.
        """
        if descriptor.shape != (DESCRIPTOR_SIZE,) or not np.isfinite(descriptor).all():
            raise ValueError(f"a descriptor is {DESCRIPTOR_SIZE} finite numbers, not {descriptor.shape}")
        q = descriptor.astype(np.float32)
        return cls(
            identity=np.zeros(IDENTITY_SIZE, np.float32),
            expression=q[EXPRESSION],
            pose=q[POSE],
            gaze=q[GAZE],
            residual=np.zeros((478, 3), np.float32),
        )

    @property
    def descriptor(self) -> _Array:
        """The image's own motion descriptor, (72,) float32."""
        return np.concatenate([self.expression, self.pose, self.gaze]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class SequenceCoefficients:
    """One person's clip of T frames; all float32, units as in ``Coefficients``.

    identity (80,) and residual (478, 3) hold for the whole clip; the residual's irises look straight ahead.
    expression (T, 64), pose (T, 6), gaze (T, 2).
    """

    identity: _Array
    residual: _Array
    expression: _Array
    pose: _Array
    gaze: _Array

    @property
    def descriptors(self) -> _Array:
        """Motion descriptors, (T, 72) float32."""
        return np.concatenate([self.expression, self.pose, self.gaze], axis=1).astype(np.float32)
