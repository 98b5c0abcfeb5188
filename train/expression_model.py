"""The motion space as the expression tasks use it: 68 landmarks and eye features, linear in 64 numbers."""

from typing import Protocol

from torch import Tensor


class ExpressionModel(Protocol):
    """`engine.motion.space.landmark_model.LandmarkModel` or `train.motion_space.bfm_model.BfmModel`.

    Coordinates are x right, y down, z away, in face units (outer eye corners of the mean face are 1 apart), with pose
    and identity zero, as section 3.2 of the paper takes its landmarks.
    """

    @property
    def mean_68(self) -> Tensor:
        """(68, 3)."""
        ...

    @property
    def expression_basis_68(self) -> Tensor:
        """(64, 68, 3)."""
        ...

    def landmarks_68(self, expression: Tensor) -> Tensor:
        """(..., 64) to (..., 68, 3)."""
        ...

    def eye_feature(self, expression: Tensor) -> Tensor:
        """(..., 64) to (..., 21), Fig. 4."""
        ...

    def mirror_expression(self, expression: Tensor) -> Tensor:
        """Expression of the mirrored face."""
        ...
