"""Units in which the animator learns from motion descriptors of the landmark space.

Expression coefficients are in standard deviations; rotations, shifts and gaze are a tenth of that and would be learnt
late. Training divides each part by its usual size; at export the division goes into the first layer of the mapping,
so the shipped network takes plain descriptors.
"""

import copy

import torch
from torch import Tensor

from engine.animator import FaceAnimatorNetwork
from engine.motion.space.coefficients import DESCRIPTOR_SIZE, EXPRESSION, GAZE, POSE

_EXPRESSION, _ROTATION_RAD, _SHIFT, _LOG_SIZE, _GAZE_RAD = 1.0, 0.1, 0.08, 0.06, 0.15


def descriptor_scale() -> Tensor:
    """(72,): usual deviation of each number of a descriptor in the landmark motion space."""
    scale_D = torch.ones(DESCRIPTOR_SIZE)
    scale_D[EXPRESSION] = _EXPRESSION
    scale_D[POSE] = torch.tensor([_ROTATION_RAD] * 3 + [_SHIFT] * 2 + [_LOG_SIZE])
    scale_D[GAZE] = _GAZE_RAD
    return scale_D


def fold_descriptor_scale(network: FaceAnimatorNetwork, scale_D: Tensor) -> FaceAnimatorNetwork:
    """A copy of a network that took descriptors divided by ``scale_D``; it takes plain ones."""
    folded = copy.deepcopy(network)
    with torch.no_grad():
        weight_CDK = folded.mapping.first.weight
        weight_CDK.div_(scale_D.to(weight_CDK)[:, None])
    return folded


def unfold_descriptor_scale(network: FaceAnimatorNetwork, scale_D: Tensor) -> FaceAnimatorNetwork:
    """The other way: a copy of a network that took plain descriptors; it takes divided ones."""
    return fold_descriptor_scale(network, 1 / scale_D)
