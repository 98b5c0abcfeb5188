"""The WebSocket: audio and control in, events out; the image is watched over WHEP or ``/offer`` by session id.

    start {rate, ...} -->                        <-- started {session_id, size}
    audio, control    -->                        <-- state, stats, interrupted, pong, error

Whoever opened the session ends it by leaving. A message that cannot be used is answered with an error and skipped;
only a wrong beginning, or no place, closes the connection (1008, 1013). Events that a client is too slow for are
dropped, oldest first.
"""

import asyncio
import contextlib
import logging
from collections import deque

import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web

from server.live.messages import Audio, ErrorEvent, Event, Refusal, Start, Started, StateEvent
from server.live.session import LiveSession
from server.protocol import MAX_AUDIO_BYTES, encode_event, parse_message, parse_start
from server.rate_limit import RateLimit
from server.sessions.manager import SessionManager

log = logging.getLogger(__name__)

_SUBPROTOCOL = "gohd"
_START_TIMEOUT_S = 10.0
_HEARTBEAT_S = 20.0
_GOODBYE_S = 1.0
_MAX_WAITING_EVENTS = 64
_MAX_SOCKETS = 128
_AGAIN = ("busy", "draining", "not_ready")


class WebSocketEndpoint:
    """``GET /ws``."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._open = 0

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        if self._open >= _MAX_SOCKETS:
            raise Refusal("busy", "Too many connections are open here.", retry_after_s=5)
        self._open += 1
        try:
            return await self._serve(request)
        finally:
            self._open -= 1

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            protocols=(_SUBPROTOCOL,), max_msg_size=2 * MAX_AUDIO_BYTES, heartbeat=_HEARTBEAT_S
        )
        await socket.prepare(request)
        try:
            start = await _read_start(socket)
            session, owns = await self._session(start)
        except Refusal as refusal:
            with contextlib.suppress(ConnectionError):
                await socket.send_str(encode_event(ErrorEvent(code=refusal.code, message=refusal.message)))
            code = WSCloseCode.TRY_AGAIN_LATER if refusal.code in _AGAIN else WSCloseCode.POLICY_VIOLATION
            await socket.close(code=code, message=refusal.code.encode())
            return socket
        await _Connection(request, socket, session, start, self._manager, owns).run()
        return socket

    async def _session(self, start: Start) -> tuple[LiveSession, bool]:
        if start.session is not None:
            return self._manager.sessions.find(start.session), False
        return await self._manager.open(start.portrait, start.size), True


class _Connection:
    """One connection after its beginning."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        session: LiveSession,
        start: Start,
        manager: SessionManager,
        owns: bool,
    ) -> None:
        self._request = request
        self._socket = socket
        self._session = session
        self._rate_hz = start.rate_hz
        self._owns = owns
        self._voice = session.open_voice(live=start.live)
        self._clock = manager.clock
        self._pace = RateLimit(per_second=200, burst=400)
        self._events: deque[Event] = deque(maxlen=_MAX_WAITING_EVENTS)
        self._changed = asyncio.Event()

    async def run(self) -> None:
        self._send(Started(session_id=self._session.session_id, size=self._session.frame_size[0]))
        self._send(StateEvent(state=self._session.state))
        unsubscribe = self._session.subscribe(self._send)
        leave = self._session.add_close_hook(self._session_ends)
        sender = asyncio.get_running_loop().create_task(self._send_all())
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._take(message.data)
        finally:
            unsubscribe()
            leave()
            self._voice.close()
            sender.cancel()
            await asyncio.wait({sender})
            if self._owns:
                await self._session.close("the client left")

    def _take(self, data: str | bytes) -> None:
        try:
            if not self._pace.allow(self._clock.now_s()):
                raise Refusal("rate_limited", "Too many messages: send larger pieces of audio.")
            message = parse_message(data)
        except Refusal as refusal:
            self._send(ErrorEvent(code=refusal.code, message=refusal.message))
            return
        if isinstance(message, Audio):
            self._voice.push_pcm(np.frombuffer(message.pcm, "<i2").astype(np.int16), self._rate_hz)
        else:
            self._session.handle_control(message, self._send)

    def _send(self, event: Event) -> None:
        self._events.append(event)
        self._changed.set()

    async def _send_all(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._changed.wait()
                self._changed.clear()
                while self._events:
                    await self._socket.send_str(encode_event(self._events.popleft()))

    async def _session_ends(self, reason: str) -> None:
        """Say what is left to say. Who does not read it is cut off: nobody else waits for that."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                while self._events:
                    await self._socket.send_str(encode_event(self._events.popleft()))
                await self._socket.close(code=WSCloseCode.OK, message=b"ended")
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
        except ConnectionError:
            log.debug("session %s: its socket was gone already", self._session.label)


async def _read_start(socket: web.WebSocketResponse) -> Start:
    try:
        message = await socket.receive(_START_TIMEOUT_S)
    except TimeoutError:
        raise Refusal("bad_message", "The first message, 'start', did not come in time.") from None
    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
        raise Refusal("bad_message", "The first message must be 'start'.")
    return parse_start(message.data)
