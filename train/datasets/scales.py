"""Units in which the networks see eye features; folded into their first and last layers at export.

A blink ratio moves by 0.2, a brow by 0.01 face units: networks get both in units of their usual deviation from the
neutral face (ratio 1, brows 0).

Shape suffix: F eye feature (21) [blink ratio | 20 brow displacements].
"""

import copy

import torch
from torch import Tensor, nn

from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork
from train.datasets.regions import mouth_closing_operator, mouth_opening_direction
from train.expression_model import ExpressionModel

EYE_FEATURE_MEAN = torch.tensor([1.0] + [0.0] * 20)
EYE_FEATURE_STD = torch.tensor([0.2] + [0.01] * 20)


def normalise(feature_F: Tensor) -> Tensor:
    """Eye features (...,21) in units of their usual deviation."""
    return (feature_F - EYE_FEATURE_MEAN.to(feature_F)) / EYE_FEATURE_STD.to(feature_F)


def restore(feature_F: Tensor) -> Tensor:
    """Inverse of `normalise`."""
    return feature_F * EYE_FEATURE_STD.to(feature_F) + EYE_FEATURE_MEAN.to(feature_F)


def fold_lip(network: LipNetwork) -> LipNetwork:
    """Copy of a lip network trained on normalised eye features that takes plain ones."""
    folded = copy.deepcopy(network)
    if folded.config.eye_feature_size:
        _fold_input(folded.map[0], folded.config.audio_size + folded.config.expression_size)
    return folded


def fold_eye(network: EyeMotionNetwork) -> EyeMotionNetwork:
    """Copy of an eye network trained on normalised features that takes and gives plain ones."""
    folded = copy.deepcopy(network)
    _fold_input(folded.feature_encoder[0], 0)
    last = folded.head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(EYE_FEATURE_STD[:, None])
        last.bias.copy_(last.bias * EYE_FEATURE_STD + EYE_FEATURE_MEAN)
    return folded


def gain_mouth(network: LipNetwork, model: ExpressionModel, gain: float, pivot: float) -> LipNetwork:
    """Copy whose mouth opens ``gain`` times as far from an inner-lip opening of ``pivot`` face units.

    Regression answers with the mean of what may be, so its range is short; the correlation does not change by this.
    With C the operator of the closing lips, e' = e + (gain - 1) (e C - pivot direction), folded into the last layer.
    """
    scaled = copy.deepcopy(network).cpu()
    last = scaled.map[-1]
    assert isinstance(last, nn.Linear)
    change = (gain - 1) * mouth_closing_operator(model)
    with torch.no_grad():
        shift = (gain - 1) * pivot * mouth_opening_direction(model)
        last.weight.add_(change.T @ last.weight)
        last.bias.add_(last.bias @ change - shift)
    return scaled


def _fold_input(layer: nn.Module, first: int) -> None:
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        columns = slice(first, first + len(EYE_FEATURE_MEAN))
        layer.weight[:, columns].div_(EYE_FEATURE_STD)
        layer.bias.sub_(layer.weight[:, columns] @ EYE_FEATURE_MEAN)
