"""What is measured of a portrait in a clip, in the form that the animator's identity code takes.

Shape suffixes: B rows, N landmarks (478), D descriptor (72), G measures (1586).
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion.space.coefficients import EXPRESSION, IDENTITY_SIZE, POSE
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.pose import similarity_from_pose
from train.data.faces.face_clips import FACE_SIZE


def neutral_shapes(landmarks_BN3: Tensor, descriptor_BD: Tensor, model: LandmarkModel) -> Tensor:
    """Canonical shapes at expression 0, (B, 478, 3) face units, of landmarks in px of the 256 crop.

    Their depth counts from the middle of the rigid points, as `LandmarkModel.fit` leaves it.
    """
    descriptor_BD = descriptor_BD.to(torch.float64)
    scale_B, rotation_B33, shift_B3 = similarity_from_pose(descriptor_BD[:, POSE], FACE_SIZE)
    shape_BN3 = (landmarks_BN3 - shift_B3[:, None]) @ rotation_B33 / scale_B[:, None, None]
    shape_BN3 = shape_BN3 - torch.tensordot(descriptor_BD[:, EXPRESSION], model.expression_basis.double(), 1)
    drift_B3 = (shape_BN3 - model.mean)[:, model.rigid_indices].mean(1)
    depth_B3 = rotation_B33[:, 2]
    away_B3 = depth_B3 * (drift_B3 * depth_B3).sum(1, keepdim=True)
    neutral_BN3: Tensor = (shape_BN3 - away_B3[:, None]).float()
    return neutral_BN3


def clip_measures(landmarks_BN3: Tensor, descriptor_BD: Tensor, model: LandmarkModel) -> Tensor:
    """`engine.animator.network.face_animator.portrait_measures` of frames of clips, float32 (B, 1586).

    A clip's expressions count from its own neutral, so all of the shape beside the mean face's is the residual.
    """
    neutral_BN3 = neutral_shapes(landmarks_BN3, descriptor_BD, model) - model.mean
    identity_BI = torch.zeros(len(neutral_BN3), IDENTITY_SIZE)
    return torch.cat([descriptor_BD.float(), identity_BI, neutral_BN3.flatten(1)], 1)
