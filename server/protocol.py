"""Every message on the wire, and nothing that moves one (sans I/O).

    HTTP     POST /offer      {sdp, type: "offer", portrait?}  ->  {sdp, type: "answer", session_id}
             POST /portraits  a picture and consent            ->  {portrait_id}
             any failure                                       ->  {error: {code, message}}

    data channel "control", one JSON object a message, at most 4 KiB
             browser -> server   gaze {pitch, yaw} | gaze_off | interrupt | ping {id}
             server -> browser   state {state} | stats {...} | interrupted {generation} | pong {id} | error

``tests/golden/protocol.json`` holds both directions; the Python and the JavaScript tests read the same file.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from engine.errors import GohdError

__all__ = [
    "CONTROL_LABEL",
    "HTTP_STATUS",
    "MAX_CONTROL_BYTES",
    "Answer",
    "ErrorEvent",
    "Gaze",
    "GazeOff",
    "Interrupt",
    "Interrupted",
    "Offer",
    "Ping",
    "Pong",
    "Refusal",
    "StateEvent",
    "StatsEvent",
    "encode_answer",
    "encode_error",
    "encode_event",
    "encode_portrait",
    "parse_control",
    "parse_offer",
]

CONTROL_LABEL = "control"
MAX_CONTROL_BYTES = 4096
GAZE_LIMIT_RAD = math.pi / 2

HTTP_STATUS: dict[str, int] = {
    "bad_json": 400,
    "bad_message": 400,
    "bad_sdp": 400,
    "bad_portrait": 400,
    "no_face": 400,
    "consent_missing": 400,
    "unauthorized": 401,
    "forbidden_host": 403,
    "forbidden_origin": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_large": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "internal": 500,
    "busy": 503,
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


@dataclass(frozen=True, slots=True)
class Offer:
    """A browser's wish to connect. ``portrait`` is an id from ``POST /portraits``; None is the demo face."""

    sdp: str
    portrait: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Gaze:
    """Look there: radians, pitch > 0 is up, yaw > 0 is to the viewer's right, (0, 0) is into the camera."""

    TYPE: ClassVar[str] = "gaze"
    pitch: float
    yaw: float


@dataclass(frozen=True, slots=True)
class GazeOff:
    """Look where the motion model looks."""

    TYPE: ClassVar[str] = "gaze_off"


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop speaking now; drop all sound that came before."""

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
class StateEvent:
    """What the avatar does: ``idle`` or ``speaking``; ``ended`` is the last message of a session."""

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


Control = Gaze | GazeOff | Interrupt | Ping
Event = StateEvent | StatsEvent | Interrupted | Pong | ErrorEvent


def parse_offer(body: bytes) -> Offer:
    """Read the JSON of ``POST /offer``; unknown fields are ignored.

    Raises:
        Refusal: ``bad_json`` or ``bad_message``.
    """
    fields = _parse_object(body)
    if fields.get("type") != "offer":
        raise Refusal("bad_message", "The field 'type' must be 'offer'.")
    sdp = fields.get("sdp")
    if not isinstance(sdp, str) or not sdp:
        raise Refusal("bad_message", "The field 'sdp' must hold the session description as text.")
    portrait = fields.get("portrait")
    if portrait is not None and (not isinstance(portrait, str) or not 0 < len(portrait) <= 64):
        raise Refusal(
            "bad_message", "The field 'portrait' must be an id from POST /portraits, or be left out."
        )
    return Offer(sdp=sdp, portrait=portrait)


def parse_control(text: str | bytes) -> Control:
    """Read one message of the data channel.

    Raises:
        Refusal: ``too_large``, ``bad_json`` or ``bad_message``.
    """
    if isinstance(text, bytes):
        raise Refusal("bad_message", "Control messages are text, not binary.")
    if len(text) > MAX_CONTROL_BYTES:
        raise Refusal("too_large", f"A control message holds at most {MAX_CONTROL_BYTES} bytes.")
    fields = _parse_object(text)
    match fields.get("type"):
        case Gaze.TYPE:
            return Gaze(pitch=_angle(fields, "pitch"), yaw=_angle(fields, "yaw"))
        case GazeOff.TYPE:
            return GazeOff()
        case Interrupt.TYPE:
            return Interrupt()
        case Ping.TYPE:
            return Ping(id=_counter(fields, "id"))
    raise Refusal("bad_message", "The field 'type' must be gaze, gaze_off, interrupt or ping.")


def encode_answer(answer: Answer) -> dict[str, Any]:
    return {"sdp": answer.sdp, "type": "answer", "session_id": answer.session_id}


def encode_portrait(portrait_id: str) -> dict[str, Any]:
    return {"portrait_id": portrait_id}


def encode_error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def encode_event(event: Event) -> str:
    """One message of the data channel, as compact JSON."""
    return json.dumps({"type": event.TYPE, **asdict(event)}, separators=(",", ":"))


def _parse_object(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", "The message is not valid JSON.") from error
    if not isinstance(value, dict):
        raise Refusal("bad_message", "The message must be a JSON object.")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _angle(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= GAZE_LIMIT_RAD:
        raise Refusal("bad_message", f"The field '{name}' must be an angle between -pi/2 and pi/2 radians.")
    return float(value)


def _counter(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise Refusal("bad_message", f"The field '{name}' must be a whole number from 0 to 2^53.")
    return value
