"""Losses of stage 1, the audio-to-lip map (App. B.2, Eq. 18-24).

Norms are sums over a frame's numbers, as written in the paper, and everything is averaged over frames and rows.
The paper does not say in which units its landmarks and eye features are. Here landmarks are the 68 points of an
expression with pose and identity zero, 3-D, in pixels of a 256-pixel crop (0.35 * 256 px a face unit), as the size of
its distances (Tables 3, 5, 6) suggests; eye features are in units of their usual deviation (`train.datasets.scales`).

Shape suffixes: R rows, K frames of a row, E expression (64), F eye feature (21), L landmarks (68), D reading features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.space.landmark_table import LIPS_AND_JAW_68
from engine.motion.space.pose import REFERENCE_SCALE
from train.datasets.scales import normalise
from train.expression_model import ExpressionModel

LipReader = Callable[[Tensor], Tensor]
"""Expressions (R,K,64) to lip reading features (R,K,D) of their mouths (`train.rendering.MouthReader`)."""

PIXELS_PER_FACE_UNIT = REFERENCE_SCALE * 256
_UPPER_INNER, _LOWER_INNER = slice(60, 64), slice(64, 68)
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage1LossWeights:
    """Lambdas of Eq. 19; defaults are those of App. C."""

    landmarks: float = 0.01
    eye: float = 2.0
    shut: float = 1.0
    reading: float = 2.0
    expression: float = 2.0


@dataclass(frozen=True, slots=True)
class Stage1Losses:
    """The terms of Eq. 19 and their weighted sum, each a scalar tensor; a reading that is not asked for is 0."""

    landmarks: Tensor
    eye: Tensor
    shut: Tensor
    reading: Tensor
    expression: Tensor
    total: Tensor

    def log(self) -> dict[str, Tensor]:
        """The terms by name, without their graph."""
        names = ("landmarks", "eye", "shut", "reading", "expression")
        return {name: getattr(self, name).detach() for name in names}


def stage1_losses(
    model: ExpressionModel,
    predicted_RKE: Tensor,
    target_RKE: Tensor,
    eye_feature_RKF: Tensor,
    weights: Stage1LossWeights,
    reader: LipReader | None = None,
) -> Stage1Losses:
    """Eq. 18-19.

    Args:
        eye_feature_RKF: normalised features that the predicted expression must show, f_t.
        reader: of Eq. 23; needed if its weight is not 0.

    Raises:
        ValueError: the reading loss has a weight but there is no reader.
    """
    with torch.autocast(predicted_RKE.device.type, enabled=False):
        return _stage1_losses(model, predicted_RKE, target_RKE, eye_feature_RKF, weights, reader)


def _stage1_losses(
    model: ExpressionModel,
    predicted_RKE: Tensor,
    target_RKE: Tensor,
    eye_feature_RKF: Tensor,
    weights: Stage1LossWeights,
    reader: LipReader | None,
) -> Stage1Losses:
    predicted_RKL3 = model.landmarks_68(predicted_RKE) * PIXELS_PER_FACE_UNIT
    target_RKL3 = model.landmarks_68(target_RKE) * PIXELS_PER_FACE_UNIT
    landmarks = landmark_fidelity_loss(predicted_RKL3, target_RKL3)
    eye = eye_feature_loss(normalise(model.eye_feature(predicted_RKE)), eye_feature_RKF)
    shut = shut_loss(predicted_RKL3, target_RKL3)
    reading = predicted_RKE.new_zeros(())
    if weights.reading > 0:
        if reader is None:
            raise ValueError("the reading loss (Eq. 23) needs a lip reading network, or losses.reading=0")
        with torch.no_grad():
            wanted_RKD = reader(target_RKE)
        reading = reading_loss(reader(predicted_RKE), wanted_RKD)
    expression = expression_loss(predicted_RKE, target_RKE)
    total = (
        weights.landmarks * landmarks
        + weights.eye * eye
        + weights.shut * shut
        + weights.reading * reading
        + weights.expression * expression
    )
    return Stage1Losses(landmarks, eye, shut, reading, expression, total)


def landmark_fidelity_loss(predicted_L3: Tensor, target_L3: Tensor) -> Tensor:
    """Eq. 20: squared distance, mean over the 31 lip and jaw points [3, 14) u [48, 68) and the frames; (..., 68, 3)."""
    error_L3 = (predicted_L3 - target_L3)[..., list(LIPS_AND_JAW_68), :]
    return error_L3.square().sum(-1).mean()


def eye_feature_loss(predicted_F: Tensor, target_F: Tensor) -> Tensor:
    """Eq. 21 and 27: L1 norm over the 21 features, mean over the frames; (..., 21)."""
    return (predicted_F - target_F).abs().sum(-1).mean()


def shut_loss(predicted_L3: Tensor, target_L3: Tensor) -> Tensor:
    """Eq. 22: squared error of the differences between inner lip points 60..63 and 64..67, in order; (..., 68, 3)."""
    error = _lip_differences(predicted_L3) - _lip_differences(target_L3)
    return error.square().sum((-1, -2)).mean()


def reading_loss(predicted_D: Tensor, target_D: Tensor) -> Tensor:
    """Eq. 23: one minus the cosine of lip reading features, mean over the frames; (..., D)."""
    dot: Tensor = (predicted_D * target_D).sum(-1)
    lengths: Tensor = predicted_D.norm(dim=-1) * target_D.norm(dim=-1)
    return (1 - dot / lengths.clamp(min=_EPSILON)).mean()


def expression_loss(predicted_E: Tensor, target_E: Tensor) -> Tensor:
    """Eq. 24: L1 norm over the 64 coefficients, mean over the frames; (..., 64)."""
    return (predicted_E - target_E).abs().sum(-1).mean()


def _lip_differences(landmarks_L3: Tensor) -> Tensor:
    return landmarks_L3[..., _UPPER_INNER, :] - landmarks_L3[..., _LOWER_INNER, :]


def spread_penalty(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the standard deviations over dim 0, which regression to the mean shrinks."""
    return (predicted.std(0) - target.std(0)).square().mean()


def correlation_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - Pearson correlation over dim 0, averaged over the rest."""
    a, b = predicted - predicted.mean(0), target - target.mean(0)
    cosine: Tensor = (a * b).sum(0) / torch.sqrt((a * a).sum(0) * (b * b).sum(0) + 1e-12)
    return (1 - cosine).mean()
