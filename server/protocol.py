"""Reading and writing every message on the wire; sending them is the business of others (no I/O in here).

    HTTP     POST /offer      {sdp, type: "offer", portrait?, size?}  ->  {sdp, type: "answer", session_id, size}
                              or {sdp, type: "offer", session}
             POST /portraits  an image and consent                   ->  {portrait_id, warnings}
             GET /ice                                                 ->  {ice_servers: [...], relay_only}
             any failure                                              ->  {error: {code, message}}

    data channel "control" and WebSocket /ws, one JSON object a message
             client -> server    gaze {pitch, yaw} | look {at} | intensity {value} | pose {on} | state {state}
                                 | interrupt | ping {id}
             server -> client    state {state} | stats {...} | interrupted {generation} | pong {id} | error

    WebSocket only
             client -> server    start {rate, portrait?, size?, live?} or start {rate, session, live?}, once and
                                 first; then audio: PCM, 16 bit little-endian mono, as binary messages or as
                                 audio {pcm: base64}
             server -> client    started {session_id, size}

    motion, for a viewer who draws the face: one binary message a frame, little-endian
             version u8 = 1 | frames u8, 1 or 2 | step u16 | generation u32 | index u32 | presentation time u64
             | 72 numbers i16 | with 2 frames: 72 more, of the frame before, which was shown ``step`` samples earlier
             Times count samples of 48 kHz. A number is its range times i16 / 32767, see ``MOTION_RANGES``.

``tests/golden/protocol.json`` holds both directions; the Python and the JavaScript tests read the same file.
"""

import base64
import json
import math
import struct
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.motion.space.coefficients import DESCRIPTOR_SIZE, EXPRESSION_SIZE
from engine.portrait import CROP_SIZES
from server.live.messages import (
    Answer,
    Audio,
    Control,
    Event,
    Gaze,
    Intensity,
    Interrupt,
    Look,
    MotionFrame,
    Offer,
    Ping,
    Pose,
    Refusal,
    Start,
    TellState,
)

CONTROL_LABEL = "control"
MAX_CONTROL_BYTES = 4096
MAX_AUDIO_BYTES = 2**20
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 96_000
GAZE_LIMIT_RAD = math.pi / 2

MOTION_RANGES: Final[npt.NDArray[np.float32]] = np.array(
    [16.0] * EXPRESSION_SIZE + [math.pi] * 3 + [4.0, 4.0, 2.0] + [math.pi] * 2, np.float32
)
"""Largest value of each number of a motion message (72,): standard deviations, radians, half crops, log scale, radians.

Far beyond what a face does, and yet fine enough: rounding moved landmarks by at most 0.03 px of 512 in 400 motions.
"""

_MOTION_VERSION = 1
_MOTION_HEADER = struct.Struct("<BBHIIQ")
_MOTION_STEPS = 32767
# The page counts in floating point, which holds whole numbers up to here.
_MAX_PTS_SAMPLES = 2**53 - 1

_LOOKS = ("camera", "away", "free")
_STATES = ("listening", "thinking", "idle")


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
    return Offer(sdp=sdp, **_target(fields))


def parse_control(text: str | bytes) -> Control:
    """Read one message of the data channel.

    Raises:
        Refusal: ``too_large``, ``bad_json`` or ``bad_message``.
    """
    if isinstance(text, bytes):
        raise Refusal("bad_message", "Control messages are text, not binary.")
    if len(text) > MAX_CONTROL_BYTES:
        raise Refusal("too_large", f"A control message holds at most {MAX_CONTROL_BYTES} bytes.")
    return _control(_parse_object(text))


def parse_start(text: str | bytes) -> Start:
    """Read the first message of a WebSocket.

    Raises:
        Refusal: ``too_large``, ``bad_json`` or ``bad_message``.
    """
    if isinstance(text, bytes) or len(text) > MAX_CONTROL_BYTES:
        raise Refusal("bad_message", "The first message must be 'start', as short text.")
    fields = _parse_object(text)
    if fields.get("type") != "start":
        raise Refusal("bad_message", "The first message must be of the type 'start'.")
    wanted = f"a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
    rate_hz = _integer(fields, "rate", MIN_RATE_HZ, MAX_RATE_HZ, wanted)
    return Start(rate_hz=rate_hz, live=_boolean(fields, "live", False), **_target(fields))


def parse_message(message: str | bytes) -> Audio | Control:
    """Read any later message of a WebSocket: audio as binary or base64, or control.

    Raises:
        Refusal: ``too_large``, ``bad_json`` or ``bad_message``.
    """
    if isinstance(message, bytes):
        return Audio(parse_pcm(message))
    if len(message) > 2 * MAX_AUDIO_BYTES:
        raise Refusal("too_large", f"A message holds at most {MAX_AUDIO_BYTES} bytes of audio.")
    fields = _parse_object(message)
    if fields.get("type") != "audio":
        if len(message) > MAX_CONTROL_BYTES:
            raise Refusal("too_large", f"A control message holds at most {MAX_CONTROL_BYTES} bytes.")
        return _control(fields)
    pcm = fields.get("pcm")
    if not isinstance(pcm, str):
        raise Refusal("bad_message", "The field 'pcm' must hold base64.")
    try:
        return Audio(parse_pcm(base64.b64decode(pcm, validate=True)))
    except ValueError as error:
        raise Refusal("bad_message", "The field 'pcm' is not base64.") from error


def parse_pcm(audio: bytes) -> bytes:
    """Check the size of a piece of audio; raises Refusal ``too_large`` or ``bad_message``."""
    if len(audio) > MAX_AUDIO_BYTES:
        raise Refusal("too_large", f"A message holds at most {MAX_AUDIO_BYTES} bytes of audio.")
    if len(audio) % 2:
        raise Refusal("bad_message", "Audio must hold whole samples of two bytes each.")
    return audio


def _control(fields: dict[str, Any]) -> Control:
    match fields.get("type"):
        case Gaze.TYPE:
            return Gaze(pitch=_angle(fields, "pitch"), yaw=_angle(fields, "yaw"))
        case Look.TYPE:
            return Look(at=_one_of(fields, "at", _LOOKS))
        case Intensity.TYPE:
            return Intensity(value=float(_number(fields, "value", 0, 1, "a number from 0 to 1")))
        case Pose.TYPE:
            return Pose(on=_boolean(fields, "on"))
        case TellState.TYPE:
            return TellState(state=_one_of(fields, "state", _STATES))
        case Interrupt.TYPE:
            return Interrupt()
        case Ping.TYPE:
            return Ping(id=_integer(fields, "id", 0, 2**53 - 1, "a whole number from 0 to 2^53"))
    raise Refusal("bad_message", "The field 'type' must be gaze, look, intensity, pose, state, interrupt or ping.")


def encode_answer(answer: Answer) -> dict[str, Any]:
    return {"sdp": answer.sdp, "type": "answer", "session_id": answer.session_id, "size": answer.size}


def encode_portrait(portrait_id: str, warnings: tuple[str, ...]) -> dict[str, Any]:
    return {"portrait_id": portrait_id, "warnings": list(warnings)}


def encode_ice_servers(servers: list[dict[str, Any]], relay_only: bool) -> dict[str, Any]:
    return {"ice_servers": servers, "relay_only": relay_only}


def encode_error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def encode_event(event: Event) -> str:
    """One message of the data channel, as compact JSON."""
    return json.dumps({"type": event.TYPE, **asdict(event)}, separators=(",", ":"))


def encode_motion(frame: MotionFrame, before: MotionFrame | None = None) -> bytes:
    """One motion message; with ``before`` it repeats that frame, so that a single lost message loses nothing.

    ``before`` is left out where it is not the frame just before in the same generation. Values beyond `MOTION_RANGES`
    are sent as its ends.

    Raises:
        ValueError: the descriptor is not (72,) finite numbers, or a count does not fit the message.
    """
    step = 0
    frames = [frame]
    if before is not None and (before.generation, before.index) == (frame.generation, frame.index - 1):
        apart = frame.pts_samples - before.pts_samples
        if 0 < apart < 2**16:
            step = apart
            frames.append(before)
    if not 0 <= frame.pts_samples <= _MAX_PTS_SAMPLES:
        raise ValueError(f"a presentation time is 0 to 2^53 samples, not {frame.pts_samples}")
    try:
        header = _MOTION_HEADER.pack(
            _MOTION_VERSION, len(frames), step, frame.generation, frame.index, frame.pts_samples
        )
    except struct.error as error:
        raise ValueError(f"index and generation of a motion are 0 to 2^32 ({error})") from error
    return header + b"".join(_quantised(each.descriptor) for each in frames)


def parse_motion(message: str | bytes) -> tuple[MotionFrame, ...]:
    """The one or two frames of a motion message, in the order in which they are shown.

    Raises:
        Refusal: ``bad_message``.
    """
    if isinstance(message, str) or len(message) < _MOTION_HEADER.size:
        raise Refusal("bad_message", "A motion message is binary, and has a header.")
    version, count, step, generation, index, pts = _MOTION_HEADER.unpack_from(message)
    if version != _MOTION_VERSION:
        raise Refusal("bad_message", f"The motion message is of version {version}, not {_MOTION_VERSION}.")
    if count not in (1, 2) or len(message) != _MOTION_HEADER.size + 2 * DESCRIPTOR_SIZE * count:
        raise Refusal("bad_message", "The motion message does not hold one or two frames.")
    if pts > _MAX_PTS_SAMPLES or (count == 1 and step != 0):
        raise Refusal("bad_message", "The times of the motion message make no sense.")
    if count == 2 and not (0 < step <= pts and index > 0):
        raise Refusal("bad_message", "The frame before in the motion message lies before the first one.")
    values = np.frombuffer(message, "<i2", offset=_MOTION_HEADER.size).reshape(count, DESCRIPTOR_SIZE)
    descriptors = (values.astype(np.float32) / np.float32(_MOTION_STEPS)) * MOTION_RANGES
    return tuple(
        MotionFrame(index - back, pts - back * step, generation, descriptors[back]) for back in reversed(range(count))
    )


def _quantised(descriptor: npt.NDArray[np.float32]) -> bytes:
    if descriptor.shape != (DESCRIPTOR_SIZE,) or not np.isfinite(descriptor).all():
        raise ValueError(f"a descriptor is {DESCRIPTOR_SIZE} finite numbers, not {descriptor.shape}")
    shares = np.clip(descriptor.astype(np.float64) / MOTION_RANGES, -1.0, 1.0)
    return np.rint(shares * _MOTION_STEPS).astype("<i2").tobytes()


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


def _number(fields: dict[str, Any], name: str, low: float, high: float, wanted: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refusal("bad_message", f"The field '{name}' must be {wanted}.")
    return value


def _integer(fields: dict[str, Any], name: str, low: int, high: int, wanted: str) -> int:
    value = _number(fields, name, low, high, wanted)
    if not isinstance(value, int):
        raise Refusal("bad_message", f"The field '{name}' must be {wanted}.")
    return value


def parse_size(text: str | None) -> int | None:
    """Read the query field ``size`` of a WHEP request; raises Refusal ``bad_message``."""
    return None if text is None else _size({str(size): size for size in CROP_SIZES}.get(text))


def _size(value: object) -> int:
    if isinstance(value, bool) or value not in CROP_SIZES:
        sizes = f"{', '.join(map(str, CROP_SIZES[:-1]))} or {CROP_SIZES[-1]}"
        raise Refusal("bad_message", f"The field 'size' must be {sizes} pixels, or be left out.")
    assert isinstance(value, int | float)
    return int(value)


def _target(fields: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("portrait", "session"):
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not 0 < len(value) <= 64:
            raise Refusal("bad_message", f"The field '{name}' must be an id of this server, or be left out.")
        found[name] = value
    if fields.get("size") is not None:
        found["size"] = _size(fields["size"])
    if "session" in found and len(found) > 1:
        raise Refusal("bad_message", "A session has its portrait and its size already: name it alone.")
    return found


def _angle(fields: dict[str, Any], name: str) -> float:
    wanted = "an angle between -pi/2 and pi/2 radians"
    return float(_number(fields, name, -GAZE_LIMIT_RAD, GAZE_LIMIT_RAD, wanted))


def _one_of(fields: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in choices:
        raise Refusal("bad_message", f"The field '{name}' must be {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def _boolean(fields: dict[str, Any], name: str, default: bool | None = None) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise Refusal("bad_message", f"The field '{name}' must be true or false.")
    return value
