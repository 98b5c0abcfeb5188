"""Linear operators that move one region of the face in expression space and hold the others.

The shape is linear in e (Eq. 10), and e is in standard deviations, so the likeliest expression whose landmarks meet a
linear wish is a ridge or least-norm solution.
"""

import torch
from torch import Tensor

from engine.motion.space.landmark_table import EYES_AND_BROWS_68, INNER_LIP_PAIRS_68, LIPS_AND_JAW_68
from train.expression_model import ExpressionModel

_MOUTH, _EYES = list(LIPS_AND_JAW_68), list(EYES_AND_BROWS_68)
_STIFFNESS = 1e4


def eye_swap_operator(model: ExpressionModel) -> Tensor:
    """(64,64) matrix P: e + (e_other - e) @ P has the brows and eyes of e_other and the mouth of e."""
    basis = model.expression_basis_68.double()
    eyes, mouth = basis[:, _EYES].flatten(1), basis[:, _MOUTH].flatten(1)
    attract = _STIFFNESS * eyes @ eyes.T
    hold = _STIFFNESS * mouth @ mouth.T + torch.eye(len(basis), dtype=torch.float64)
    swap: Tensor = torch.linalg.solve(attract + hold, attract).T.float()
    return swap


def mouth_closing_operator(model: ExpressionModel) -> Tensor:
    """(64,64) matrix C: e - e @ C has the inner lips as far apart as in the mean face, by the least change."""
    gap = _gap_rows(model)
    ridge = 1e-9 * torch.eye(3, dtype=torch.float64)
    close: Tensor = (gap.T @ torch.linalg.solve(gap @ gap.T + ridge, gap)).float()
    return close


def mouth_opening_direction(model: ExpressionModel) -> Tensor:
    """(64,) least expression that opens all three pairs of inner lip points by one face unit."""
    gap = _gap_rows(model)
    ones = torch.ones(len(gap), dtype=torch.float64)
    direction: Tensor = (gap.T @ torch.linalg.solve(gap @ gap.T, ones)).float()
    return direction


def _gap_rows(model: ExpressionModel) -> Tensor:
    """(3,64) change of the vertical distance of each inner lip pair per unit of expression."""
    basis = model.expression_basis_68.double()
    return torch.stack([basis[:, low, 1] - basis[:, up, 1] for up, low in INNER_LIP_PAIRS_68])
