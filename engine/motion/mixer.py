"""The mixer: from the networks' outputs to the motion descriptor q_t = [e_t 64 | p_t 6 | g_t 2].

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
from engine.motion.space.mouth_rest import MouthRest

_F32 = npt.NDArray[np.float32]

# Share of the way to its target that the gaze goes each frame: 91 % in four frames (160 ms). More makes a commanded
# gaze jump, and shows the noise of a generated or measured one; less lets it arrive late.
_GAZE_RATE = 0.45


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
