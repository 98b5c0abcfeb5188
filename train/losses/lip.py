"""Losses of stage 1, the audio-to-lip map (App. B.2, Eq. 18-24).

Landmarks are the 68 points of an expression with pose and identity zero, 3-D, in pixels of a 256-pixel crop
(0.35 * 256 px a face unit), the scale in which the paper's weights balance. L_read (Eq. 23) needs a lip reading expert
and is not part of this sum.

Shape suffixes: B frames, E expression (64), F eye feature (21), L landmarks (68).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.landmark_model import LandmarkModel

__all__ = ["PIXELS_PER_FACE_UNIT", "LipLossWeights", "LipLosses", "lip_losses"]

PIXELS_PER_FACE_UNIT = 0.35 * 256
_LIP_AND_JAW = (*range(3, 14), *range(48, 68))
_EYE_FEATURE_SPREAD = torch.tensor([0.2] + [0.01] * 20)
_UPPER_INNER = (60, 61, 62, 63)
_LOWER_INNER = (64, 65, 66, 67)


@dataclass(frozen=True, slots=True, kw_only=True)
class LipLossWeights:
    """Lambdas of Eq. 19 (App. C)."""

    landmarks: float = 0.01
    eye: float = 2.0
    shut: float = 1.0
    expression: float = 2.0


@dataclass(frozen=True, slots=True)
class LipLosses:
    """The terms of Eq. 19 and their weighted sum, each a scalar tensor."""

    landmarks: Tensor
    eye: Tensor
    shut: Tensor
    expression: Tensor
    total: Tensor


def lip_losses(
    model: LandmarkModel,
    predicted_BE: Tensor,
    target_BE: Tensor,
    eye_feature_BF: Tensor,
    weights: LipLossWeights | None = None,
) -> LipLosses:
    """Eq. 20, 21, 22, 24 averaged over frames.

    Args:
        eye_feature_BF: the feature the network was given, which the predicted expression must show; its
            distance is taken in units of the usual spread (0.2 for the blink ratio, 0.01 for brows).
    """
    weights = weights or LipLossWeights()
    predicted_BL3 = model.landmarks_68(predicted_BE) * PIXELS_PER_FACE_UNIT
    target_BL3 = model.landmarks_68(target_BE) * PIXELS_PER_FACE_UNIT
    lip = list(_LIP_AND_JAW)
    landmarks = (predicted_BL3[..., lip, :] - target_BL3[..., lip, :]).square().sum(-1).mean()
    shut = (_gap(predicted_BL3) - _gap(target_BL3)).square().sum((-1, -2)).mean() / PIXELS_PER_FACE_UNIT
    eye = ((model.eye_feature(predicted_BE) - eye_feature_BF).abs() / _EYE_FEATURE_SPREAD).mean()
    expression = (predicted_BE - target_BE).abs().mean()
    total = (
        weights.landmarks * landmarks
        + weights.eye * eye
        + weights.shut * shut
        + weights.expression * expression
    )
    return LipLosses(landmarks, eye, shut, expression, total)


def _gap(landmarks_BL3: Tensor) -> Tensor:
    """Differences of Eq. 22 between the upper (60-63) and lower (64-67) inner lip points, in order."""
    return landmarks_BL3[..., list(_UPPER_INNER), :] - landmarks_BL3[..., list(_LOWER_INNER), :]


def spread_penalty(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the standard deviations over dim 0, which regression to the mean shrinks."""
    return (predicted.std(0) - target.std(0)).square().mean()


def correlation_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - Pearson correlation over dim 0, averaged over the rest."""
    a, b = predicted - predicted.mean(0), target - target.mean(0)
    cosine = (a * b).sum(0) / torch.sqrt((a * a).sum(0) * (b * b).sum(0) + 1e-12)
    return (1 - cosine).mean()
