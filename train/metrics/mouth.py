"""How well a predicted mouth follows the real one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.space.landmark_table import INNER_LIP_PAIRS_68
from train.expression_model import ExpressionModel

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MouthAgreement:
    """Pearson correlation at the best lag within one frame, and predicted over real standard deviation."""

    correlation: float
    range_ratio: float
    frames: int


def mouth_opening(model: ExpressionModel, expression_TE: Tensor) -> Tensor:
    """Inner-lip opening in face units: mean vertical distance of iBUG 61-67, 62-66, 63-65. (...,64) to (...)."""
    landmarks = model.landmarks_68(expression_TE)
    distances = [landmarks[..., low, 1] - landmarks[..., up, 1] for up, low in INNER_LIP_PAIRS_68]
    return sum(distances[1:], distances[0]) / len(distances)


def mouth_agreement(predicted: FloatArray, real: FloatArray) -> MouthAgreement:
    """Compare two opening curves (T,) of one clip."""
    best = -1.0
    for lag in (-1, 0, 1):
        a = predicted[max(0, lag) : len(predicted) + min(0, lag)]
        b = real[max(0, -lag) : len(real) + min(0, -lag)]
        if a.std() > 1e-9 and b.std() > 1e-9:
            best = max(best, float(np.corrcoef(a, b)[0, 1]))
    return MouthAgreement(best, float(predicted.std() / max(real.std(), 1e-9)), len(real))
