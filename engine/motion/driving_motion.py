"""Motion taken from somewhere else than the voice (multi-modal driving, paper section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivingMotion:
    """Per-frame motion at 25 fps that replaces that of the networks; past its end the last frame holds.

    Attributes:
        expression: (T, 64) expressions, or None to leave them to the voice.
        pose: (T, 6) poses, applied as change from their first frame (Eq. 4), or None.
        gaze: (T, 2) pitch and yaw, radians, camera frame, or None.
    """

    expression: _F32 | None = None
    pose: _F32 | None = None
    gaze: _F32 | None = None

    def __post_init__(self) -> None:
        for name, width in (("expression", 64), ("pose", 6), ("gaze", 2)):
            track = getattr(self, name)
            if track is not None and (track.ndim != 2 or track.shape[1] != width or not len(track)):
                raise ValueError(f"{name} must be (T, {width}) with T > 0, got {track.shape}")

    def only(self, *names: str) -> DrivingMotion:
        """The same motion with just the named parts (expression, pose, gaze)."""
        return DrivingMotion(**{name: getattr(self, name) for name in names})

    def expression_at(self, frame: int) -> _F32 | None:
        """(64,) at ``frame``, or None."""
        return None if self.expression is None else _hold_last(self.expression, frame)

    def pose_residual_at(self, frame: int) -> _F32 | None:
        """(6,) change since the first frame, or None."""
        return None if self.pose is None else _hold_last(self.pose, frame) - self.pose[0]

    def gaze_at(self, frame: int) -> _F32 | None:
        """(2,) at ``frame``, or None."""
        return None if self.gaze is None else _hold_last(self.gaze, frame)


def _hold_last(track: _F32, frame: int) -> _F32:
    row: _F32 = track[min(frame, len(track) - 1)]
    return row
