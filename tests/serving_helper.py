"""A served fake engine, and its callers: real WebRTC peers in the same process."""

import asyncio
import contextlib
import io
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from PIL import Image

from server import AvatarServer, ServerConfig
from tests.fake_engine import FakeEngine
from tests.webrtc_peer import Caller, VoiceTrack


def image_bytes(colour: str = "teal", file_format: str = "JPEG", side_px: int = 32) -> bytes:
    """A small image; the fake engine finds a face in it unless it is black."""
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(file, file_format)
    return file.getvalue()


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
        caller = Caller(self.http, self.url, voice)
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
    host: str = "127.0.0.1",
    **config: Any,
) -> Served:
    """Serve a fake engine on a free port of ``host`` until the stack unwinds.

    It believes in many cores, so that a busy machine refuses no session that a test opens.
    """
    engine = engine or FakeEngine()
    server = AvatarServer(ServerConfig(host=host, port=0, **config), lambda: engine)
    server.sessions.core_count = core_count
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, 0).start()
    port = runner.addresses[0][1]
    server.listening_on(port)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    served = Served(server, engine, f"http://{host}:{port}", http)
    stack.push_async_callback(served.hang_up)
    return served
