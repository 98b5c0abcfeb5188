"""Faults in one place leave everybody else alone: a session that watches all the while gets each frame as it should be.

Each test breaks something beside a steady session: an engine that raises or hangs, a full disk, a decoder that dies, a
reader that does not read, a clock that jumps. Whom it concerns gets an error with a name.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket as socketlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import WSMsgType
from aiortc.mediastreams import MediaStreamError

from server.live.clock import Clock
from server.live.session import LiveSession
from server.webrtc.tracks import ViewerTracks
from tests.fake_engine import FakeEngine, FakeSession
from tests.serving_helper import Served, ServeFactory, image_bytes, until
from tests.steerable_clock import SteerableClock

JPEG = {"Content-Type": "image/jpeg"}
IMAGE_PTS = 3600


class _Steady:
    """Looks at every frame of a session of its own."""

    def __init__(self, session: LiveSession, clock: Clock) -> None:
        self.session = session
        self._tracks = ViewerTracks(session.timeline, clock)
        session.add_sink(self._tracks)
        self._task = asyncio.ensure_future(self._watch())
        self.pts: list[int] = []
        self.wrong = 0

    async def _watch(self) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await self._tracks.video.recv()
                self.pts.append(frame.pts)
                self.wrong += not _is_as_made(frame.to_ndarray(format="rgb24"))

    async def check(self) -> None:
        """It still runs, at its pace, and nothing but whole images came, in order."""
        count = len(self.pts)
        await until(lambda: len(self.pts) > count + 5, 5)
        self._task.cancel()
        assert not self.session.ending
        assert self.wrong == 0
        steps = np.diff(self.pts) // IMAGE_PTS
        assert (steps > 0).all()
        # A busy machine may overtake an image; a fault of somebody else's may not stop them.
        assert steps.max() <= 12, steps


def _is_as_made(rgb: np.ndarray) -> bool:
    """A silent frame of the fake engine: grey, its left darker by its number."""
    dark = int((rgb[0, :, 0] == 45).sum())
    expected = np.full((256, 256, 3), 90, np.uint8)
    expected[:, :dark] //= 2
    return dark % 4 == 0 and bool((rgb == expected).all())


@contextlib.asynccontextmanager
async def _beside_a_steady_session(served: Served) -> AsyncIterator[_Steady]:
    await served.server.wait_loaded()
    steady = _Steady(await served.server.manager.open(), served.server.manager.clock)
    await until(lambda: len(steady.pts) > 3)
    yield steady
    await steady.check()


def _raise(*_: Any) -> Any:
    raise RuntimeError("the engine was told to fail")


def _exhaust(*_: Any) -> Any:
    raise MemoryError


async def _start(served: Served) -> tuple[Any, str]:
    socket = await served.http.ws_connect(f"{served.url}/ws")
    await socket.send_str('{"type":"start","rate":16000}')
    started = json.loads(await socket.receive_str())
    return socket, started["session_id"]


async def _error_of(socket: Any) -> str:
    """The code of the error that a socket tells before it is closed."""
    code = ""
    async with asyncio.timeout(8):
        async for message in socket:
            if message.type is WSMsgType.TEXT and (event := json.loads(message.data))["type"] == "error":
                code = event["code"]
    return code


@pytest.mark.parametrize(
    ("method", "fault", "message"),
    [
        ("listen", _raise, None),
        ("listen", _exhaust, None),
        ("set_intensity", _raise, '{"type":"intensity","value":0.5}'),
        ("interrupt", _raise, '{"type":"interrupt"}'),
    ],
    ids=["in a frame", "without memory", "in a command", "in an interrupt"],
)
async def test_an_engine_that_raises_ends_its_own_session_by_name(
    served: Served, method: str, fault: Callable[..., Any], message: str | None
) -> None:
    async with _beside_a_steady_session(served):
        socket, _ = await _start(served)
        setattr(served.engine.sessions[-1], method, fault)
        if message is not None:
            await socket.send_str(message)
        assert await _error_of(socket) == "internal"
        await until(lambda: len(served.server.sessions) == 1)
        assert b"gohd_sessions_failed_total 1.0" in served.server.metrics.text()
        again, _ = await _start(served)
        await again.close()


async def test_an_engine_that_raises_while_it_closes_frees_the_place(served: Served) -> None:
    async with _beside_a_steady_session(served):
        socket, _ = await _start(served)
        served.engine.sessions[-1].close = _raise  # type: ignore[method-assign]
        await socket.close()
        await until(lambda: len(served.server.sessions) == 1)


class _Choosy(FakeEngine):
    """Refuses the one or the other by a fault of its own."""

    fault = ""

    def enroll(self, image: Any, *, size: int = 256) -> Any:
        if self.fault == "enroll":
            _raise()
        return super().enroll(image, size=size)

    def open_session(self, avatar: Any, *, seed: int = 0) -> FakeSession:
        if self.fault == "open_session":
            _raise()
        return super().open_session(avatar, seed=seed)


async def test_an_engine_that_takes_nobody_says_so_and_keeps_no_place(serve_fake: ServeFactory) -> None:
    engine = _Choosy()
    served = await serve_fake(engine=engine)
    async with _beside_a_steady_session(served):
        engine.fault = "open_session"
        status, body = await served.caller().post()
        assert (status, body["error"]["code"]) == (500, "internal")
        with pytest.raises(RuntimeError):
            await served.server.manager.open()
        engine.fault = "enroll"
        async with served.http.post(
            f"{served.url}/portraits?consent=true", data=image_bytes(), headers=JPEG
        ) as response:
            assert response.status == 500
        engine.fault = ""
        assert len(served.server.sessions) == 1
        socket, _ = await _start(served)
        await socket.close()


async def test_an_engine_that_hangs_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.live.session._HANGING_S", 2)
    monkeypatch.setattr("server.live.session._WORKER_TIMEOUT_S", 0.2)
    let_go = threading.Event()
    async with _beside_a_steady_session(served):
        socket, _ = await _start(served)
        served.engine.sessions[-1].listen = lambda *_: let_go.wait(30) and []  # type: ignore[method-assign]
        assert await _error_of(socket) == "internal"
        await until(lambda: len(served.server.sessions) == 1)
        let_go.set()
        await until(lambda: served.engine.sessions[-1].closed)


async def test_a_fault_in_the_sessions_own_clockwork_ends_it_alone(served: Served) -> None:
    async with _beside_a_steady_session(served):
        socket, session_id = await _start(served)
        served.server.sessions.find(session_id).timeline.advance = _raise  # type: ignore[method-assign]
        assert await _error_of(socket) == "internal"
        await until(lambda: len(served.server.sessions) == 1)


async def _upload(served: Served, picture: bytes) -> tuple[int, str]:
    async with served.http.post(f"{served.url}/portraits?consent=true", data=picture, headers=JPEG) as response:
        body = await response.json()
        return response.status, body.get("error", {}).get("code", "")


async def test_a_full_disk_takes_no_portrait_and_says_why(serve_fake: ServeFactory) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    served = await serve_fake(consent_log=Path("/dev/full"))
    async with _beside_a_steady_session(served):
        assert await _upload(served, image_bytes()) == (507, "unwritable")
        assert len(served.server.manager._portraits._avatars) == 0


async def test_a_decoder_that_dies_or_hangs_costs_one_image(served: Served) -> None:
    decoder = served.server._decoder
    async with _beside_a_steady_session(served):
        assert (await _upload(served, image_bytes()))[0] == 201
        for dies in (True, False):
            assert decoder._child is not None
            os.kill(decoder._child.pid, signal.SIGSTOP)
            decoder._timeout_s = 10.0 if dies else 0.2
            upload = asyncio.ensure_future(_upload(served, image_bytes()))
            await until(decoder._turn.locked)
            if dies:
                os.kill(decoder._child.pid, signal.SIGKILL)
            assert await upload == (415, "unsupported_media_type")
            decoder._timeout_s = 10.0
            assert (await _upload(served, image_bytes()))[0] == 201


async def test_a_reader_that_does_not_read_is_cut_off_at_the_end(served: Served) -> None:
    """Its buffers fill to the last byte; its session still ends in time."""
    async with _beside_a_steady_session(served) as steady:
        host, port = served.url.removeprefix("http://").split(":")
        with socketlib.socket() as plain:
            plain.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 4096)
            await asyncio.to_thread(plain.connect, (host, int(port)))
            plain.setblocking(False)
            loop = asyncio.get_running_loop()
            head = f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
            await loop.sock_sendall(plain, head.encode() + _frame(b'{"type":"start","rate":16000}'))

            def others() -> list[LiveSession]:
                running = served.server.sessions._places.values()
                return [s for s in running if s is not None and s is not steady.session]

            await until(others)
            (session,) = others()
            await until(lambda: session._close_hooks)
            (ingest,) = session._close_hooks
            events = ingest.__self__._events  # type: ignore[attr-defined]
            flood = _frame(b"{") * 500
            for _ in range(200):
                await loop.sock_sendall(plain, flood)
                await asyncio.sleep(0)
                if len(events) == events.maxlen:
                    break
            assert len(events) == events.maxlen, "what is not read is dropped, oldest first"
            began_s = time.monotonic()
            await session.close("the test ends")
            assert time.monotonic() - began_s < 3
            assert len(served.server.sessions) == 1


def _frame(text: bytes) -> bytes:
    """A masked WebSocket text message under 126 bytes (RFC 6455, section 5.2); the mask is zero."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


@pytest.mark.parametrize("leap_s", [0.3, 4.0, 3600.0])
async def test_a_clock_that_jumps_leaves_audio_and_image_together(served: Served, leap_s: float) -> None:
    await served.server.wait_loaded()
    clock = SteerableClock(speed=1.0)
    served.server.manager.clock = clock
    session = await served.server.manager.open()
    tracks = ViewerTracks(session.timeline, clock)
    session.add_sink(tracks)
    newest = {"video": 0.0, "audio": 0.0}

    async def watch(track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                newest[track.kind] = float(frame.pts * frame.time_base)

    tasks = [asyncio.ensure_future(watch(track)) for track in (tracks.video, tracks.audio)]
    await until(lambda: min(newest.values()) > 0.3)
    clock.advance(leap_s)
    before_s = newest["video"]
    # A short leap is caught up with; time that the whole process did not see does not count.
    gone_s = leap_s if leap_s < 5 else 0.0
    await until(lambda: newest["video"] > before_s + gone_s, 8)
    await until(lambda: abs(newest["video"] - newest["audio"]) < 0.15, 2)
    assert not session.ending
    await until(lambda: newest["video"] > before_s + gone_s + 1, 5)
    assert newest["audio"] < before_s + gone_s + 8
    for task in tasks:
        task.cancel()
    await session.close("the test ends")
