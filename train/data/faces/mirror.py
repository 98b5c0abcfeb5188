"""Left-right mirror of poses and gaze; expressions are mirrored by `LandmarkModel.mirror_expression`."""

import torch
from torch import Tensor


def mirror_pose(pose: Tensor) -> Tensor:
    """(...,6): rotations about y and z and the translation along x change sign."""
    return pose * torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0], dtype=pose.dtype)


def mirror_gaze(gaze: Tensor) -> Tensor:
    """(...,2) pitch, yaw: yaw changes sign."""
    return gaze * torch.tensor([1.0, -1.0], dtype=gaze.dtype)
