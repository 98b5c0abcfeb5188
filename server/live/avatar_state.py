"""What the avatar is doing, and where it looks meanwhile (sans I/O).

    speaking    its voice is being heard
    listening   somebody speaks to it: it looks into the camera
    thinking    an answer is on its way: it looks aside
    idle        none of these

A client tells listening, thinking and idle; speaking is heard. A gaze that a client commands comes before all of that.
"""

from __future__ import annotations

from server.live.messages import Gaze, Look

_SPEAKING_HOLD_BLOCKS = 15
_CAMERA = (0.0, 0.0)
_ASIDE_PITCH_RAD, _ASIDE_YAW_RAD = 0.12, 0.45

Direction = tuple[float, float]
"""Pitch and yaw in radians, as of ``protocol.Gaze``."""


class AvatarState:
    """``hear`` once a block of 20 ms; ``state`` and ``gaze`` say what follows from all that was told."""

    def __init__(self) -> None:
        self._told = "idle"
        self._quiet_blocks = _SPEAKING_HOLD_BLOCKS
        self._gaze: Direction | None = None
        self._look = "free"
        self._side = 1.0

    @property
    def state(self) -> str:
        return "speaking" if self._quiet_blocks < _SPEAKING_HOLD_BLOCKS else self._told

    @property
    def gaze(self) -> Direction | None:
        """Where to look now; None is where the motion model looks."""
        if self._look == "at":
            return self._gaze
        look = self._look
        if look == "free":
            look = {"listening": "camera", "thinking": "away"}.get(self.state, "free")
        return {"camera": _CAMERA, "away": (_ASIDE_PITCH_RAD, self._side * _ASIDE_YAW_RAD)}.get(look)

    def hear(self, voiced: bool) -> None:
        self._quiet_blocks = 0 if voiced else self._quiet_blocks + 1

    def tell(self, state: str) -> None:
        """The client says that the avatar is listening, thinking or idle."""
        self._turn_aside(state == "thinking" and self._told != "thinking")
        self._told = state

    def look(self, command: Gaze | Look) -> None:
        if isinstance(command, Gaze):
            self._look, self._gaze = "at", (command.pitch, command.yaw)
            return
        self._turn_aside(command.at == "away" and self._look != "away")
        self._look = command.at

    def _turn_aside(self, anew: bool) -> None:
        if anew:
            self._side = -self._side
