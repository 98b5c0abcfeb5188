"""A bridge from an OpenAI-Realtime-style WebSocket to the face: what the model says, the face says.

    the user's voice --> service --response.output_audio.delta--> Conversation --> SpeakerMouth: a Speaker here
                            ^                                         |       `--> ServerMouth: /ws of a gohd server
                            '--- conversation.item.truncate ----------'

Nothing waits here without a bound: a mouth takes audio at once (it keeps up to ten minutes, a server two), and the
user's voice is read no faster than the service takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from clients.agents.conversation import (
    REALTIME_RATE_HZ,
    BeSilent,
    Conversation,
    EndOfSpeech,
    Fault,
    Say,
    Tell,
    encode_append,
)
from clients.agents.speaker import Speaker
from engine.errors import AgentUnreachable, InputError, MissingDependency
from server.live.clock import Clock, MonotonicClock

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_log = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 2**24
_SERVER_DELAY_S = 0.2
_MAX_AUDIO_BYTES = 2**19
_START_TIMEOUT_S = 30.0


class Mouth(Protocol):
    """Where speech goes."""

    @property
    def unheard_ms(self) -> float:
        """How much of what was said has not been heard by now."""
        ...

    async def say(self, samples: npt.NDArray[np.int16]) -> None:
        """int16 (n,), 24 kHz mono."""
        ...

    async def end(self) -> None:
        """No more of this speech will come."""
        ...

    async def be_silent(self) -> None:
        """Drop what was to be said."""
        ...


class SpeakerMouth:
    """A speaker in this process; somebody else takes its chunks."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def unheard_ms(self) -> float:
        return self._speaker.pushed_ms - self._speaker.position_ms

    async def say(self, samples: npt.NDArray[np.int16]) -> None:
        self._speaker.push(samples, REALTIME_RATE_HZ)

    async def end(self) -> None:
        self._speaker.mark(EndOfSpeech())

    async def be_silent(self) -> None:
        self._speaker.interrupt()


class ServerMouth:
    """A session of a gohd server, over its WebSocket. Use it as an asynchronous context.

    What was heard is reckoned by the clock: the server says audio in real time, 0.2 s after it came.

    Args:
        url: ws://HOST:PORT/ws.
        token: bearer token of the server, if it wants one.
        session: id of a session that is open already, as that of the page; else a new one, of ``portrait`` or the demo.

    Attributes:
        session_id: what to watch, over WHEP (/whep/SESSION) or ``/offer``.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        session: str | None = None,
        portrait: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._start: dict[str, Any] = {"type": "start", "rate": REALTIME_RATE_HZ}
        self._start |= {
            name: value for name, value in (("session", session), ("portrait", portrait)) if value is not None
        }
        self._clock = clock or MonotonicClock()
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._silent_from_s = float("-inf")
        self.session_id = ""

    async def __aenter__(self) -> ServerMouth:
        self._socket = await _connect(self._url, self._token)
        try:
            await self._socket.send(json.dumps(self._start))
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not self.session_id:
                    event = json.loads(await self._socket.recv())
                    if event.get("type") == "error":
                        raise AgentUnreachable(f"the avatar server refuses: {event.get('message')}")
                    if event.get("type") == "started":
                        self.session_id = event["session_id"]
        except BaseException as error:
            await self._socket.close()
            if isinstance(error, _closed_error() | TimeoutError | ValueError):
                raise AgentUnreachable(f"{self._url} does not answer as a gohd server does") from error
            raise
        self._reading = asyncio.create_task(self._read(self._socket))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._socket is not None
        assert self._reading is not None
        await self._socket.close()
        self._reading.cancel()
        await asyncio.wait({self._reading})

    @property
    def unheard_ms(self) -> float:
        return 1e3 * max(0.0, self._silent_from_s - self._clock.now_s())

    async def say(self, samples: npt.NDArray[np.int16]) -> None:
        begins_s = max(self._silent_from_s, self._clock.now_s() + _SERVER_DELAY_S)
        self._silent_from_s = begins_s + len(samples) / REALTIME_RATE_HZ
        pcm = samples.astype("<i2").tobytes()
        for start in range(0, len(pcm), _MAX_AUDIO_BYTES):
            await self._send(pcm[start : start + _MAX_AUDIO_BYTES])

    async def end(self) -> None:
        pass  # the server tells the end by the silence

    async def be_silent(self) -> None:
        self._silent_from_s = float("-inf")
        await self._send(json.dumps({"type": "interrupt"}))

    async def _send(self, message: str | bytes) -> None:
        assert self._socket is not None
        try:
            await self._socket.send(message)
        except _closed_error() as error:
            raise AgentUnreachable("the avatar server ended the session") from error

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(_closed_error()):
            async for message in socket:
                event = json.loads(message)
                if event.get("type") == "error":
                    _log.warning("the avatar server says: %s", event.get("message"))


class RealtimeBridge:
    """Connects to the service and lets ``mouth`` say what comes.

    Args:
        url: wss://... of the service, with its query (model, call id).
        key: bearer key; not logged.
        microphone: the user's voice for the service, PCM16 24 kHz mono in pieces of any size.
        session: sent as ``session.update`` at the beginning.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        mouth: Mouth,
        *,
        microphone: AsyncIterator[bytes] | None = None,
        session: dict[str, Any] | None = None,
    ) -> None:
        self._url = url
        self._key = key
        self._mouth = mouth
        self._microphone = microphone
        self._session = session
        self._conversation = Conversation()
        self._microphone_failed: Exception | None = None
        self.damaged_messages = 0

    async def run(self) -> None:
        """Return when the service ends the conversation.

        Raises:
            AgentUnreachable: the service, or the avatar server, cannot be reached or broke off.
            MissingDependency: the websockets package is not there.
            Whatever ``microphone`` raises, which ends the conversation.
        """
        socket = await _connect(self._url, self._key)
        hearing: asyncio.Task[None] | None = None
        try:
            if self._session is not None:
                await socket.send(json.dumps({"type": "session.update", "session": self._session}))
            if self._microphone is not None:
                hearing = asyncio.create_task(self._hear(socket, self._microphone))
            async for message in socket:
                await self._take(socket, message)
        except _closed_error() as error:
            raise AgentUnreachable("the service broke off the conversation") from error
        finally:
            if hearing is not None:
                hearing.cancel()
                await asyncio.wait({hearing})
            await socket.close()
        if self._microphone_failed is not None:
            raise self._microphone_failed

    async def _take(self, socket: ClientConnection, message: str | bytes) -> None:
        try:
            actions = self._conversation.receive(message, self._mouth.unheard_ms)
        except InputError as error:
            self.damaged_messages += 1
            _log.warning("the service sent %s", error)
            return
        for action in actions:
            match action:
                case Say(samples=samples):
                    await self._mouth.say(samples)
                case EndOfSpeech():
                    await self._mouth.end()
                case BeSilent():
                    await self._mouth.be_silent()
                case Tell(text=text):
                    await socket.send(text)
                case Fault(message=told):
                    _log.warning("the service says: %s", told)

    async def _hear(self, socket: ClientConnection, microphone: AsyncIterator[bytes]) -> None:
        try:
            async for pcm in microphone:
                await socket.send(encode_append(pcm))
        except _closed_error():
            return
        except Exception as error:  # whatever the microphone raises
            self._microphone_failed = error
            await socket.close()


async def _connect(url: str, key: str | None) -> ClientConnection:
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException
    except ImportError as error:
        raise MissingDependency("websockets is not there: pip install 'gohd-live[realtime]'") from error
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        return await connect(url, additional_headers=headers, max_size=_MAX_MESSAGE_BYTES)
    except (OSError, TimeoutError, WebSocketException) as error:
        raise AgentUnreachable(f"cannot connect to {url.split('?')[0]}: {error}") from error


def _closed_error() -> type[Exception]:
    from websockets.exceptions import ConnectionClosed

    return ConnectionClosed
