"""Gaze angles: between the camera and the head, and from and to the place of the irises.

A gaze is (..., 2) = pitch, yaw in radians. Pitch > 0 looks up, yaw > 0 looks to the image right; (0, 0) looks into the
camera. It stands for the unit vector

    d = (cos(pitch) sin(yaw), -sin(pitch), -cos(pitch) cos(yaw))        x right, y down, z away

In the camera frame it is the gaze of the motion descriptor; in the head's own frame, R(pose)^T d, it is called
eye-in-head. A constant camera gaze keeps eye contact while the head turns.
"""

import torch
from torch import Tensor

from engine.motion.space.pose import rotation_vector_to_matrix


def gaze_to_direction(gaze: Tensor) -> Tensor:
    """Unit vector (..., 3) of a gaze (..., 2)."""
    pitch, yaw = gaze.unbind(-1)
    level = torch.cos(pitch)
    return torch.stack([level * torch.sin(yaw), -torch.sin(pitch), -level * torch.cos(yaw)], -1)


def direction_to_gaze(direction: Tensor) -> Tensor:
    """Pitch and yaw (..., 2) of a unit vector (..., 3)."""
    x, y, z = direction.unbind(-1)
    return torch.stack([torch.asin((-y).clamp(-1, 1)), torch.atan2(x, -z)], -1)


def camera_gaze_to_eye_in_head(gaze: Tensor, pose: Tensor) -> Tensor:
    """Where the eyes point within the head, (..., 2), for a camera gaze (..., 2) and a head pose (..., 6 or 3)."""
    rotation = rotation_vector_to_matrix(pose[..., :3])
    return direction_to_gaze((gaze_to_direction(gaze)[..., None, :] @ rotation).squeeze(-2))


def iris_offset(eye_in_head: Tensor, eyeball_radius: float) -> Tensor:
    """Displacement (..., 3) in face units of the iris of a straight eye when it turns to ``eye_in_head`` (..., 2)."""
    direction = gaze_to_direction(eye_in_head)
    ahead = torch.tensor([0.0, 0.0, -1.0], dtype=direction.dtype, device=direction.device)
    return eyeball_radius * (direction - ahead)
