"""What the avatar is doing, and where it looks meanwhile.

    speaking    its voice is being heard
    listening   somebody speaks to it: it looks into the camera
    thinking    an answer is on its way: it looks aside
    idle        none of these

Clients set listening, thinking and idle; speaking follows from the voice. A gaze that a client commands comes first.
"""

from server.live.messages import Gaze, Look

# 300 ms: longer than the pauses between words, so that the state does not flicker within a sentence.
_SPEAKING_HOLD_BLOCKS = 15
_CAMERA = (0.0, 0.0)
_ASIDE_PITCH_RAD, _ASIDE_YAW_RAD = 0.12, 0.45

Direction = tuple[float, float]
"""Pitch and yaw in radians, as in `Gaze`."""


class AvatarState:
    """Call ``note_block`` for every 20 ms; ``state`` and ``gaze`` follow from that and from what clients set."""

    def __init__(self) -> None:
        self._set = "idle"
        self._quiet_blocks = _SPEAKING_HOLD_BLOCKS
        self._gaze: Direction | None = None
        self._look = "free"
        self._side = 1.0

    @property
    def state(self) -> str:
        return "speaking" if self._quiet_blocks < _SPEAKING_HOLD_BLOCKS else self._set

    @property
    def gaze(self) -> Direction | None:
        """Where to look now; None is where the motion model looks."""
        if self._look == "at":
            return self._gaze
        look = self._look
        if look == "free":
            look = {"listening": "camera", "thinking": "away"}.get(self.state, "free")
        return {"camera": _CAMERA, "away": (_ASIDE_PITCH_RAD, self._side * _ASIDE_YAW_RAD)}.get(look)

    def note_block(self, voiced: bool) -> None:
        """The next 20 ms that leave hold speech, or not."""
        self._quiet_blocks = 0 if voiced else self._quiet_blocks + 1

    def set_state(self, state: str) -> None:
        """``listening``, ``thinking`` or ``idle``."""
        if state == "thinking" and self._set != "thinking":
            self._side = -self._side
        self._set = state

    def set_look(self, command: Gaze | Look) -> None:
        """Look there until the next command; ``free`` gives the eyes back to the state."""
        if isinstance(command, Gaze):
            self._look, self._gaze = "at", (command.pitch, command.yaw)
            return
        if command.at == "away" and self._look != "away":
            self._side = -self._side
        self._look = command.at
