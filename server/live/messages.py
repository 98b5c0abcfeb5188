"""The messages between server and clients, as values; ``server/protocol.py`` reads and writes them.

A ``TYPE`` is the message's name on the wire. Angles are in radians, durations in milliseconds where the name says so.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engine.errors import GohdError

HTTP_STATUS: dict[str, int] = {
    "bad_json": 400,
    "bad_message": 400,
    "bad_sdp": 400,
    "bad_candidate": 400,
    "bad_portrait": 400,
    "no_face": 400,
    "consent_missing": 400,
    "unauthorized": 401,
    "forbidden_host": 403,
    "forbidden_origin": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "precondition_failed": 412,
    "too_large": 413,
    "unsupported_media_type": 415,
    "unsupported": 422,
    "precondition_required": 428,
    "rate_limited": 429,
    "internal": 500,
    "unwritable": 507,
    "busy": 503,
    "draining": 503,
    "not_ready": 503,
}


class Refusal(GohdError):
    """A request that is answered with an error: a ``code`` for programs, a ``message`` for people."""

    def __init__(self, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = HTTP_STATUS[code]
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, eq=False)
class MotionFrame:
    """What the face does in one frame, for a viewer who draws it.

    Attributes:
        index: of the frame in its session, from 0.
        pts_samples: when it is shown, on the clock of the session's sound of 48 kHz.
        generation: how many interrupts came before it.
        descriptor: (72,) float32 expression, pose, gaze.
    """

    index: int
    pts_samples: int
    generation: int
    descriptor: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Offer:
    """A browser asks to connect.

    ``portrait`` is an id from ``POST /portraits``; None is the demo face. ``size`` is the side of the head's frames in
    pixels; None is the server's. With ``session`` it watches that session instead of opening one.
    """

    sdp: str
    portrait: str | None = None
    session: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``size`` is the side of the session's frames in pixels: a portrait with fewer has smaller ones."""

    sdp: str
    session_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Gaze:
    """Look there: radians, pitch > 0 is up, yaw > 0 is to the viewer's right, (0, 0) is into the camera."""

    TYPE: ClassVar[str] = "gaze"
    pitch: float
    yaw: float


@dataclass(frozen=True, slots=True)
class Look:
    """Look into the ``camera``, ``away`` from it, or be ``free``: as state and motion model want."""

    TYPE: ClassVar[str] = "look"
    at: str


@dataclass(frozen=True, slots=True)
class Intensity:
    """How much of the motion to show: 0 a still face, 1 all of it."""

    TYPE: ClassVar[str] = "intensity"
    value: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Whether the head moves."""

    TYPE: ClassVar[str] = "pose"
    on: bool


@dataclass(frozen=True, slots=True)
class TellState:
    """Set what the avatar does while it does not speak: ``listening``, ``thinking`` or ``idle``."""

    TYPE: ClassVar[str] = "state"
    state: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop speaking now; drop all audio that came before."""

    TYPE: ClassVar[str] = "interrupt"


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by a ``Pong`` with the same id, for the round trip's time."""

    TYPE: ClassVar[str] = "ping"
    id: int


@dataclass(frozen=True, slots=True)
class Pong:
    TYPE: ClassVar[str] = "pong"
    id: int


@dataclass(frozen=True, slots=True)
class Start:
    """The first message of a WebSocket. Audio comes at ``rate_hz``; ``session`` is spoken into, else one is opened, of
    ``portrait`` and ``size`` as an `Offer` has them.

    ``live``: the audio comes as it is spoken; else it may come faster, is said at the pace of speech, and keeps its
    pauses.
    """

    rate_hz: int
    portrait: str | None = None
    session: str | None = None
    size: int | None = None
    live: bool = False


@dataclass(frozen=True, slots=True)
class Audio:
    """PCM, 16 bit little-endian, mono, at the rate of ``Start``."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """The first message from the server on a WebSocket; ``size`` as in an `Answer`."""

    TYPE: ClassVar[str] = "started"
    session_id: str
    size: int


@dataclass(frozen=True, slots=True)
class StateEvent:
    """What the avatar does: ``speaking``, ``listening``, ``thinking`` or ``idle``; ``ended`` is a session's last."""

    TYPE: ClassVar[str] = "state"
    state: str


@dataclass(frozen=True, slots=True)
class StatsEvent:
    """Once a second. ``latency_ms`` runs from the voice's arrival here to its frame's departure."""

    TYPE: ClassVar[str] = "stats"
    fps: float
    latency_ms: int
    render_ms: float
    frames_sent: int
    frames_late: int
    frames_dropped: int
    voice_dropped_ms: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Everything older than this generation is gone."""

    TYPE: ClassVar[str] = "interrupted"
    generation: int


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    TYPE: ClassVar[str] = "error"
    code: str
    message: str


Control = Gaze | Look | Intensity | Pose | TellState | Interrupt | Ping
Event = Started | StateEvent | StatsEvent | Interrupted | Pong | ErrorEvent
