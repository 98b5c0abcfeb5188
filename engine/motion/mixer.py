"""The mixer: from what the networks say to the motion descriptor q_t = [e_t 64 | p_t 6 | g_t 2].

It closes the mouth when nobody speaks, keeps expression, pose and gaze within what the animator can show (the limits of
`MixerConfig`, from the weights), and blends a gaze command in. All state belongs to one session and is a function of
the frames mixed so far.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.config import MixerConfig
from engine.motion.space.landmark_table import EYES_AND_BROWS_68, INNER_LIP_PAIRS_68, LIPS_AND_JAW_68

_F32 = npt.NDArray[np.float32]

_GAZE_RATE = 0.45
_MOUTH_STIFFNESS = 1e4


@dataclass(frozen=True, slots=True)
class MouthRest:
    """How one avatar's mouth rests.

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


@dataclass(slots=True)
class MixerState:
    """What the mixer remembers of one session between frames."""

    gaze: _F32
    residuals: deque[_F32]
    opening: float = 0.0

    @classmethod
    def start(cls, gaze: _F32, config: MixerConfig) -> MixerState:
        """State before the first frame: mouth at rest, head and eyes as in the portrait."""
        still = [np.zeros(6, dtype=np.float32)] * config.pose_smoothing_frames
        return cls(gaze.astype(np.float32).copy(), deque(still, maxlen=config.pose_smoothing_frames))


def mix(
    state: MixerState,
    config: MixerConfig,
    rest: MouthRest,
    *,
    expression: _F32,
    pose_0: _F32,
    pose_residual: _F32,
    gaze: _F32,
    speaking: bool,
) -> _F32:
    """One frame's descriptor; advances ``state``.

    Args:
        expression: (64,) from the lip network.
        pose_0: (6,) the portrait's pose; pose_residual: (6,) from the pose diffusion (Eq. 4).
        gaze: (2,) pitch and yaw to look at, radians, camera frame.
        speaking: whether the voice gate is open at this frame.

    Returns:
        (72,) float32.
    """
    step = 1.0 / config.mouth_open_frames if speaking else -1.0 / config.mouth_close_frames
    state.opening = min(max(state.opening + step, 0.0), 1.0)
    opening = state.opening * state.opening * (3.0 - 2.0 * state.opening)
    scaled = rest.expression + config.expression_scale * (expression - rest.expression)
    mouth = scaled + np.float32(1.0 - opening) * (rest.pull @ (rest.expression - scaled))
    state.residuals.append(pose_residual)
    smooth: _F32 = np.stack(list(state.residuals)).mean(axis=0)
    pose = pose_0 + _limited(config.pose_scale * smooth, config)
    furthest = np.array([config.gaze_pitch_limit_rad, config.gaze_limit_rad], dtype=np.float32)
    target = np.clip(gaze, -furthest, furthest)
    state.gaze += np.float32(_GAZE_RATE) * (target - state.gaze)
    descriptor: _F32 = np.concatenate([_shortened(mouth, config.expression_limit), pose, state.gaze]).astype(np.float32)
    return descriptor


def _shortened(expression: _F32, limit: float) -> _F32:
    length = float(np.linalg.norm(expression))
    return expression if length <= limit else expression * np.float32(limit / length)


def _limited(residual: _F32, config: MixerConfig) -> _F32:
    limits = np.array([config.rotation_limit_rad] * 3 + [config.translation_limit] * 3, dtype=np.float32)
    limited: _F32 = limits * np.tanh(residual / limits)
    return limited
