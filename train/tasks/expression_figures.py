"""Figures of predicted expressions that both stages report: MLD, SSIM_e and Var_e of Tables 2, 3, 5 and 6."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from train.expression_model import ExpressionModel
from train.losses.expression_stage1 import PIXELS_PER_FACE_UNIT
from train.metrics import (
    average_variance,
    eye_brow_sequence,
    mouth_landmark_distance,
    structural_similarity,
)

_CROP_PX = 256
_VARIANCE_SCALE = 1e5


@torch.no_grad()
def expression_figures(model: ExpressionModel, predicted: Sequence[Tensor], real: Sequence[Tensor]) -> dict[str, float]:
    """Means over clips of expressions (T,64): ``mld``, ``ssim_e``, ``var_e`` and ``real/var_e`` of their 2-D landmarks.

    In the units of `gohd evaluate`: MLD in px of a 256 crop, Var_e in squared shares of the crop times 1e5.
    """
    found = []
    for one, other in zip(predicted, real, strict=True):
        a, b = (model.landmarks_68(e.cpu()).double().numpy()[..., :2] * PIXELS_PER_FACE_UNIT for e in (one, other))
        eyes_a, eyes_b = eye_brow_sequence(a) / _CROP_PX, eye_brow_sequence(b) / _CROP_PX
        found.append(
            (
                mouth_landmark_distance(a, b),
                structural_similarity(eyes_a, eyes_b),
                _VARIANCE_SCALE * average_variance(eyes_a),
                _VARIANCE_SCALE * average_variance(eyes_b),
            )
        )
    names = ("mld", "ssim_e", "var_e", "real/var_e")
    return dict(zip(names, np.mean(found, 0).tolist(), strict=True)) if found else {}
