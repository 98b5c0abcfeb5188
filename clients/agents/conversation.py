"""One leg of an OpenAI-Realtime-style conversation, as values and text (sans I/O).

    response.output_audio.delta, response.audio.delta   -> Say           PCM16, 24 kHz, mono, base64
    response.output_audio.done, response.audio.done     -> EndOfSpeech
    input_audio_buffer.speech_started                   -> BeSilent, Tell(conversation.item.truncate)
    response.done (cancelled), conversation.item.truncated, output_audio_buffer.cleared   -> BeSilent
    error                                               -> Fault

The service sends an answer faster than it is spoken. So when the user speaks up, it is told how much of each item was
heard; and what still comes of an answer that was cut is ignored.
"""

import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

REALTIME_RATE_HZ = 24_000

_MAX_MESSAGE_CHARS = 2**24
_REMEMBERED_ITEMS = 64


@dataclass(frozen=True, slots=True)
class Say:
    """int16 (n,), 24 kHz mono, n > 0."""

    samples: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class EndOfSpeech:
    """No more audio of this item."""


@dataclass(frozen=True, slots=True)
class BeSilent:
    """Drop everything that was to be said."""


@dataclass(frozen=True, slots=True)
class Tell:
    """A message for the service."""

    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The service reports an error; the conversation goes on unless it closes it."""

    message: str


Action = Say | EndOfSpeech | BeSilent | Tell | Fault


@dataclass(slots=True)
class _Item:
    item_id: str
    content_index: int
    response_id: str
    start: int
    samples: int = 0
    odd: bytes = b""


class Conversation:
    """Places count samples of 24 kHz that were handed out as ``Say`` since the start."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque(maxlen=_REMEMBERED_ITEMS)
        self._cut: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED_ITEMS)
        self._said = 0

    def receive(self, message: str | bytes, unheard_ms: float) -> list[Action]:
        """What to do about one message of the service; nothing for kinds that do not concern the voice.

        Args:
            unheard_ms: how much of what was handed out has not been heard by now.

        Raises:
            InputError: the message is damaged; the conversation may go on.
        """
        fields = _parse(message)
        match fields.get("type"):
            case "response.output_audio.delta" | "response.audio.delta":
                return self._speech(fields)
            case "response.output_audio.done" | "response.audio.done":
                ours = bool(self._items) and self._items[-1].item_id == _text(fields, "item_id")
                return [EndOfSpeech()] if ours else []
            case "input_audio_buffer.speech_started":
                return self._user_speaks(unheard_ms)
            case "response.done":
                response = fields.get("response")
                if isinstance(response, dict) and response.get("status") == "cancelled":
                    return self._cancelled(unheard_ms, response_id=_text(response, "id"))
            case "conversation.item.truncated":
                return self._cancelled(unheard_ms, item_id=_text(fields, "item_id"))
            case "output_audio_buffer.cleared":
                return self._cancelled(unheard_ms, response_id=_text(fields, "response_id"))
            case "error":
                error = fields.get("error")
                told = error.get("message") if isinstance(error, dict) else None
                return [Fault(told if isinstance(told, str) else "an error without a message")]
        return []

    def _speech(self, fields: dict[str, Any]) -> list[Action]:
        item_id, response_id = _text(fields, "item_id"), _text(fields, "response_id")
        index = fields.get("content_index", 0)
        content_index = index if isinstance(index, int) and not isinstance(index, bool) else 0
        delta = fields.get("delta")
        if not isinstance(delta, str):
            raise InputError("a piece of audio without 'delta'")
        try:
            pcm = base64.b64decode(delta, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError("a piece of audio that is not base64") from error
        if (response_id, item_id) in self._cut or (response_id and (response_id, "") in self._cut):
            return []
        item = self._items[-1] if self._items else None
        if item is None or (item.item_id, item.content_index) != (item_id, content_index):
            item = _Item(item_id, content_index, response_id, self._said)
            self._items.append(item)
        pcm = item.odd + pcm
        whole = len(pcm) // 2 * 2
        item.odd = pcm[whole:]
        samples = np.frombuffer(pcm[:whole], "<i2").astype(np.int16)
        item.samples += len(samples)
        self._said += len(samples)
        return [Say(samples)] if len(samples) else []

    def _user_speaks(self, unheard_ms: float) -> list[Action]:
        heard = self._said - self._samples(unheard_ms)
        unheard = [each for each in self._items if each.start + each.samples > heard]
        self._cut_newest_response()
        if not unheard:
            return []
        told = [Tell(_encode_truncate(each, max(heard - each.start, 0))) for each in unheard]
        self._forget_unheard(unheard)
        return [BeSilent(), *told]

    def _cancelled(self, unheard_ms: float, *, response_id: str = "", item_id: str = "") -> list[Action]:
        """The service, or another of its clients, cut an answer; be silent if it is the one being said."""
        newest = self._items[-1] if self._items else None
        if newest is None or not (response_id or item_id):
            return []
        if (response_id and newest.response_id != response_id) or (item_id and newest.item_id != item_id):
            return []
        heard = self._said - self._samples(unheard_ms)
        unheard = [each for each in self._items if each.start + each.samples > heard]
        self._cut_newest_response()
        self._forget_unheard(unheard)
        return [BeSilent()] if unheard else []

    def _forget_unheard(self, unheard: list[_Item]) -> None:
        for each in unheard:
            self._cut.append((each.response_id, each.item_id))
            self._items.remove(each)

    def _cut_newest_response(self) -> None:
        if self._items and self._items[-1].response_id:
            self._cut.append((self._items[-1].response_id, ""))

    def _samples(self, unheard_ms: float) -> int:
        return min(max(round(unheard_ms * REALTIME_RATE_HZ / 1e3), 0), self._said)


def encode_append(pcm: bytes) -> str:
    """The user's voice for the service: PCM16, 24 kHz, mono."""
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})


def _encode_truncate(item: _Item, heard: int) -> str:
    return json.dumps(
        {
            "type": "conversation.item.truncate",
            "item_id": item.item_id,
            "content_index": item.content_index,
            "audio_end_ms": heard * 1000 // REALTIME_RATE_HZ,
        }
    )


def _parse(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes) or len(message) > _MAX_MESSAGE_CHARS:
        raise InputError("a message that is binary or too long")
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise InputError("a message that is not JSON") from error
    if not isinstance(fields, dict):
        raise InputError("a message that is no JSON object")
    return fields


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
