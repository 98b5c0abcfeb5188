"""A served fake engine, and a caller: a real WebRTC peer in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
import numpy.typing as npt
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from PIL import Image

from server import AvatarServer, ServerConfig
from tests.fake_engine import FakeEngine

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]

RATE_HZ = 48_000
BLOCK = 960


def image_bytes(colour: str = "teal", file_format: str = "JPEG", side_px: int = 32) -> bytes:
    """A small image; the fake engine finds a face in it unless it is black."""
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(file, file_format)
    return file.getvalue()


class VoiceTrack(MediaStreamTrack):
    """Sends int16 48 kHz mono, then silence. ``speed`` 2.0 sends it twice as fast as real time."""

    kind = "audio"

    def __init__(self, wave: npt.NDArray[np.int16] | None = None, speed: float = 1.0) -> None:
        super().__init__()
        self._wave = np.zeros(0, np.int16) if wave is None else wave
        self._speed = speed
        self._sent = 0
        self._start = 0.0

    async def recv(self) -> av.AudioFrame:
        self._start = self._start or time.monotonic()
        fast = min(self._sent, len(self._wave)) / RATE_HZ / self._speed
        slow = max(0, self._sent - len(self._wave)) / RATE_HZ
        await asyncio.sleep(max(0.0, self._start + fast + slow - time.monotonic()))
        block = self._wave[self._sent : self._sent + BLOCK]
        block = np.pad(block, (0, BLOCK - len(block)))
        frame = av.AudioFrame.from_ndarray(block.repeat(2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._sent, Fraction(1, RATE_HZ)
        self._sent += BLOCK
        return frame


@dataclass
class Caller:
    """One browser, as far as the server can tell."""

    http: aiohttp.ClientSession
    url: str
    voice: VoiceTrack = field(default_factory=VoiceTrack)
    frames: list[av.VideoFrame] = field(default_factory=list)
    sounds: list[av.AudioFrame] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    session_id: str = ""

    def __post_init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(self.voice)
        self.pc.addTransceiver("video", direction="recvonly")
        self.channel = self.pc.createDataChannel("control")
        self.channel.on("message", lambda text: self.events.append(json.loads(text)))
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", self._on_track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        into = self.frames if track.kind == "video" else self.sounds
        self._tasks.append(asyncio.ensure_future(_collect(track, into)))

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def post(self, **more: Any) -> tuple[int, dict[str, Any]]:
        body = {"sdp": await self.offer(), "type": "offer", **more}
        async with self.http.post(f"{self.url}/offer", json=body) as response:
            return response.status, await response.json()

    async def connect(self, **more: Any) -> Caller:
        status, answer = await self.post(**more)
        assert status == 200, answer
        self.session_id = answer["session_id"]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return self

    async def hang_up(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _collect(track: MediaStreamTrack, into: list[Any]) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            into.append(await track.recv())


@dataclass
class Served:
    server: AvatarServer
    engine: FakeEngine
    url: str
    http: aiohttp.ClientSession
    callers: list[Caller] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's event loop from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def caller(self, voice: VoiceTrack | None = None) -> Caller:
        caller = Caller(self.http, self.url, voice or VoiceTrack())
        self.callers.append(caller)
        return caller

    async def hang_up(self) -> None:
        await asyncio.gather(*(caller.hang_up() for caller in self.callers))

    async def free_again(self, timeout_s: float = 10.0) -> None:
        await until(lambda: len(self.server.sessions) == 0, timeout_s)


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait for something to become true; fails when it does not."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


ServeFactory = Callable[..., Awaitable[Served]]
"""``await serve_fake(engine=..., **config)``: the fixture of tests/server."""


async def start_server(
    stack: contextlib.AsyncExitStack,
    engine: FakeEngine | None = None,
    core_count: int = 1000,
    **config: Any,
) -> Served:
    """Serve a fake engine on a free port of 127.0.0.1 until the stack unwinds.

    It believes in many cores, so that a busy machine refuses no session that a test opens.
    """
    engine = engine or FakeEngine()
    server = AvatarServer(ServerConfig(port=0, **config), lambda: engine)
    server.sessions.core_count = core_count
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    server.listening_on(port)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    served = Served(server, engine, f"http://127.0.0.1:{port}", http)
    stack.push_async_callback(served.hang_up)
    return served
