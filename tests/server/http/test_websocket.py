"""The WebSocket: audio and control in, events out, and nothing that breaks it."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import numpy as np
import numpy.typing as npt
import pytest
from aiohttp import WSMsgType

from tests.serving_helper import Served, ServeFactory, until

Socket = aiohttp.ClientWebSocketResponse


def _tone(seconds: float, rate_hz: int) -> npt.NDArray[np.int16]:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (26000 * np.sin(2 * np.pi * 300 * time_s)).astype("<i2")


async def _next(socket: Socket, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            event: dict[str, Any] = json.loads(await socket.receive_str())
            if event["type"] == kind:
                return event


async def _start(served: Served, **fields: Any) -> tuple[Socket, str]:
    socket = await served.http.ws_connect(f"{served.url}/ws")
    await socket.send_json({"type": "start", "rate": 16_000, **fields})
    return socket, (await _next(socket, "started"))["session_id"]


async def _state(socket: Socket, state: str) -> None:
    while (await _next(socket, "state"))["state"] != state:
        pass


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
async def test_audio_of_any_rate_is_spoken(served: Served, rate_hz: int) -> None:
    socket, _ = await _start(served, rate=rate_hz)
    await socket.send_bytes(_tone(0.5, rate_hz).tobytes())
    await _state(socket, "speaking")
    await _state(socket, "idle")
    await socket.close()
    await served.free_again()
    heard_s = served.engine.sessions[-1].loud_samples / 16_000
    assert abs(heard_s - 0.5) < 0.03


async def test_audio_as_text_is_spoken(served: Served) -> None:
    socket, _ = await _start(served)
    pcm = base64.b64encode(_tone(0.4, 16_000).tobytes()).decode()
    await socket.send_json({"type": "audio", "pcm": pcm})
    await _state(socket, "speaking")
    await socket.close()


@pytest.mark.realtime
async def test_a_speech_sent_at_once_is_said_at_its_pace_with_its_pauses(served: Served) -> None:
    socket, session_id = await _start(served)
    sentence = np.concatenate([_tone(0.5, 16_000), np.zeros(8_000, np.int16)])
    began = asyncio.get_running_loop().time()
    for _ in range(3):
        await socket.send_bytes(sentence.tobytes())
    session = served.server.sessions.find(session_id)
    await until(lambda: session.jitter_buffer.backlog_ms > 2000)
    await until(lambda: session.jitter_buffer.backlog_ms == 0)
    assert 2.8 < asyncio.get_running_loop().time() - began < 5
    assert session.jitter_buffer.dropped_quiet_blocks == session.jitter_buffer.dropped_overflow_blocks == 0
    await socket.close()


async def test_an_interrupt_drops_what_waits(served: Served) -> None:
    socket, session_id = await _start(served)
    await socket.send_bytes(_tone(20, 16_000).tobytes())
    await _state(socket, "speaking")
    await socket.send_json({"type": "interrupt"})
    assert (await _next(socket, "interrupted"))["generation"] == 1
    assert served.server.sessions.find(session_id).jitter_buffer.backlog_ms == 0
    await _state(socket, "idle")
    await socket.close()


async def test_its_image_is_watched_by_session_id(served: Served) -> None:
    socket, session_id = await _start(served)
    viewer = await served.caller().connect(session=session_id)
    await until(lambda: viewer.frames)
    await socket.send_bytes(_tone(1.0, 16_000).tobytes())
    await until(lambda: any(f.to_ndarray(format="gray")[:, -3:].mean() > 180 for f in viewer.frames))
    await socket.close()
    await served.free_again()


async def test_it_can_speak_in_a_session_of_another(served: Served) -> None:
    caller = await served.caller().connect()
    socket, session_id = await _start(served, session=caller.session_id)
    assert session_id == caller.session_id
    await socket.send_bytes(_tone(0.5, 16_000).tobytes())
    await _state(socket, "speaking")
    await socket.close()
    count = len(caller.frames)
    await until(lambda: len(caller.frames) > count + 5)


async def test_controls_and_states(served: Served) -> None:
    socket, _ = await _start(served)
    engine = served.engine.sessions[-1]
    await socket.send_json({"type": "gaze", "pitch": 0.1, "yaw": 0.2})
    await until(lambda: engine.gaze == (0.1, 0.2))
    await socket.send_json({"type": "state", "state": "listening"})
    await _state(socket, "listening")
    await socket.send_json({"type": "ping", "id": 4})
    assert (await _next(socket, "pong"))["id"] == 4
    assert (await _next(socket, "stats"))["fps"] > 0
    await socket.close()


@pytest.mark.parametrize("bad", ["{", '{"type":"dance"}', b"\x00", '{"type":"audio","pcm":"?"}', "x" * 9000])
async def test_bad_messages_are_answered_and_skipped(served: Served, bad: str | bytes) -> None:
    socket, _ = await _start(served)
    await (socket.send_bytes(bad) if isinstance(bad, bytes) else socket.send_str(bad))
    await _next(socket, "error")
    await socket.send_json({"type": "ping", "id": 1})
    await _next(socket, "pong")
    await socket.close()


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda s: s.send_str("{"), "bad_json"),
        (lambda s: s.send_str('{"type":"interrupt"}'), "bad_message"),
        (lambda s: s.send_bytes(b"\x00\x00"), "bad_message"),
        (lambda s: s.send_json({"type": "start", "rate": 16000, "session": "nobody"}), "not_found"),
        (lambda s: s.send_json({"type": "start", "rate": 16000, "portrait": "nobody"}), "not_found"),
    ],
)
async def test_a_bad_beginning_closes(served: Served, send: Callable[[Socket], Awaitable[None]], code: str) -> None:
    async with served.http.ws_connect(f"{served.url}/ws") as socket:
        await send(socket)
        assert (await _next(socket, "error"))["code"] == code
        assert (await socket.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        assert socket.close_code == 1008
    assert len(served.server.sessions) == 0


async def test_no_place_is_told(serve_fake: ServeFactory) -> None:
    served = await serve_fake(max_sessions=1)
    first, _ = await _start(served)
    async with served.http.ws_connect(f"{served.url}/ws") as socket:
        await socket.send_json({"type": "start", "rate": 16_000})
        assert (await _next(socket, "error"))["code"] == "busy"
        await socket.receive()
        assert socket.close_code == 1013
    await first.close()


async def test_a_session_that_fails_closes_its_socket(served: Served) -> None:
    socket, _ = await _start(served)
    served.engine.sessions[-1].fail = True
    assert (await _next(socket, "error"))["code"] == "internal"
    async with asyncio.timeout(5):
        while (await socket.receive()).type is WSMsgType.TEXT:
            pass
    assert socket.close_code == 1000
    await served.free_again()


async def test_a_socket_that_breaks_ends_its_session(served: Served) -> None:
    socket, _ = await _start(served)
    assert socket._response.connection is not None
    socket._response.connection.transport.abort()
    await served.free_again()


async def test_other_sites_and_strangers_get_no_socket(serve_fake: ServeFactory) -> None:
    served = await serve_fake(token="0123456789abcdef")
    url = f"{served.url}/ws"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await served.http.ws_connect(url, origin="http://evil.example")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await served.http.ws_connect(url)
    socket = await served.http.ws_connect(url, protocols=("gohd", "bearer.0123456789abcdef"))
    assert socket.protocol == "gohd"
    await socket.close()
    socket = await served.http.ws_connect(url, headers={"Authorization": "Bearer 0123456789abcdef"})
    await socket.close()
