"""Running the server until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable
from typing import Any

from aiohttp import web

from server.config import ServerConfig
from server.http.app import AvatarServer
from server.live.capacity import cores
from server.sessions.engine_thread import EngineLike

log = logging.getLogger(__name__)

_SHUTDOWN_S = 1.0


def serve(
    config: ServerConfig,
    *,
    on_listening: Callable[[str], None] | None = None,
    on_ready: Callable[[], None] | None = None,
    load: Callable[[], EngineLike] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM, then return.

    After SIGTERM nobody new is let in and sessions may go on for ``config.drain_timeout_s``; Ctrl-C, or a second
    SIGTERM, ends them at once.

    ``on_listening(url)`` is called once the port is open, ``on_ready()`` once the engine can take a session.

    Raises:
        OSError: the port cannot be opened.
        GohdError: the engine cannot be loaded (weights, backend, portrait).
    """
    asyncio.run(_serve(config, on_listening, on_ready, load or engine_loader(config)))


async def _serve(
    config: ServerConfig,
    on_listening: Callable[[str], None] | None,
    on_ready: Callable[[], None] | None,
    load: Callable[[], EngineLike],
) -> None:
    stop, drain = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def terminate() -> None:
        (stop if drain.is_set() else drain).set()

    for number, action in ((signal.SIGINT, stop.set), (signal.SIGTERM, terminate)):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread
            loop.add_signal_handler(number, action)
    # Before anything is loaded: a process that ends while a thread of it loads torch is aborted.
    probe = await loop.create_server(asyncio.Protocol, config.host, config.port)
    probe.close()
    await probe.wait_closed()
    server = AvatarServer(config, load)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
    try:
        await runner.setup()
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
        port = runner.addresses[0][1]
        server.listening_on(port)
        if on_listening is not None:
            on_listening(_url(config.host, port))
        loading = asyncio.ensure_future(server.wait_loaded())
        stopping, draining = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(drain.wait())
        told: set[asyncio.Future[Any]] = {stopping, draining}
        try:
            await asyncio.wait({loading, *told}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
                _set_heap_aside()
                if on_ready is not None:
                    on_ready()
                await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                log.info("draining")
                drained = asyncio.ensure_future(server.drain())
                await asyncio.wait({drained, stopping}, return_when=asyncio.FIRST_COMPLETED)
                told.add(drained)
        finally:
            for task in (loading, *told):
                task.cancel()
            await asyncio.gather(loading, *told, return_exceptions=True)
    finally:
        log.info("stopping")
        await runner.cleanup()


def engine_loader(config: ServerConfig) -> Callable[[], EngineLike]:
    """What loads the engine as ``config`` says, on the thread that calls it."""

    def load() -> EngineLike:
        import cv2
        import torch

        from engine import load_engine

        # Threads that start later, the sessions' among them, take this number over.
        torch.set_num_threads(config.engine_threads)
        cv2.setNumThreads(config.engine_threads)
        engine: EngineLike = load_engine(
            weights=config.weights,
            device=config.device,
            backend=config.backend,
            watermark=config.watermark,
            live_cores=cores(),
        )
        return engine

    return load


def _set_heap_aside() -> None:
    """Let the garbage collector forget what was loaded and stays.

    Peer connections are full of cycles, and Python looks for old ones only when a quarter of all objects is new: with
    the engine among them that is after dozens of sessions, and takes a third of a second.
    """
    gc.collect()
    gc.freeze()


def _url(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)
    return f"http://{name}:{port}/"
