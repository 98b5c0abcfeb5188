"""How a portrait's mouth rests: where the mixer brings it while nobody speaks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.motion.space.landmark_table import EYES_AND_BROWS_68, INNER_LIP_PAIRS_68, LIPS_AND_JAW_68

_F32 = npt.NDArray[np.float32]

# Weight of landmark distances (face units, squared) against the length of the change (standard deviations, squared).
# Large, so that the lips arrive and the lids stay; the latter term only keeps the solve well conditioned.
_MOUTH_STIFFNESS = 1e4


@dataclass(frozen=True, slots=True)
class MouthRest:
    """The closed mouth of one portrait, and how to get there without moving the eyes.

    Attributes:
        expression: (64,) float32, the portrait's expression with the lips brought together.
        pull: (64, 64) float32, the projector that carries an expression to the resting mouth and leaves the eyes.
    """

    expression: _F32
    pull: _F32


def mouth_rest(basis_68: _F32, shape_68: _F32, expression: _F32) -> MouthRest:
    """Solve for the resting mouth of a portrait.

    The closest expression (in units of its standard deviations) whose inner lips meet is the least-norm solution of
    three linear equations, because the shape is linear in the expression (Eq. 10).

    Args:
        basis_68: (64, 68, 3), change of each iBUG landmark per unit of each expression component, face units.
        shape_68: (68, 3), the portrait's own landmarks in the canonical frame, at ``expression``.
        expression: (64,), the portrait's expression e_0.
    """
    basis = basis_68.astype(np.float64)
    gap = np.array([shape_68[low, 1] - shape_68[up, 1] for up, low in INNER_LIP_PAIRS_68], dtype=np.float64)
    jacobian = np.stack([basis[:, low, 1] - basis[:, up, 1] for up, low in INNER_LIP_PAIRS_68])
    closing = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-9 * np.eye(3), np.maximum(gap, 0.0))
    mouth = basis[:, list(LIPS_AND_JAW_68)].reshape(len(basis), -1)
    eyes = basis[:, list(EYES_AND_BROWS_68)].reshape(len(basis), -1)
    attract = _MOUTH_STIFFNESS * mouth @ mouth.T
    hold = _MOUTH_STIFFNESS * eyes @ eyes.T + np.eye(len(basis))
    pull = np.linalg.solve(attract + hold, attract)
    return MouthRest((expression - closing).astype(np.float32), pull.astype(np.float32))
