"""The engine, loaded and used for portraits on one thread of its own, away from the event loop.

The thread is a daemon: a server that is told to stop while weights load stops at once.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from engine.batch.renderer import BUCKETS
from engine.portrait import load_image
from server.live.capacity import (
    FRAME_MS,
    FrameCost,
    capacity,
    cores,
    listed,
    live_sizes,
    measure_batches,
    measure_frames,
    sustained,
)
from server.live.clock import Clock
from server.live.device_worker import DeviceWorker
from server.live.engine_session import EngineSession, Renderer
from server.live.messages import Refusal
from server.webrtc.codecs import measure_encoder_ms

log = logging.getLogger(__name__)

_MAX_SESSIONS = 256

_T = TypeVar("_T")


class EngineLike(Protocol):
    """What the server needs of ``engine.Engine``. Of avatars it reads the size and the warnings; one that never
    ``batches`` opens no renderer.
    """

    @property
    def batches(self) -> bool: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def runs_on(self) -> str: ...
    def enroll(self, image: Any, *, size: int) -> Any: ...
    def shrink(self, avatar: Any, size: int) -> Any: ...
    def open_session(self, avatar: Any, *, seed: int = 0, renderer: Any = None) -> EngineSession: ...
    def open_renderer(self, capacity: int) -> Renderer: ...


class EngineThread:
    """Runs jobs on the engine, one after the other; they wait until it and the demo portrait are loaded.

    ``size`` is the side of the head's frames in pixels: what was asked for, or the largest of 512, 384 and 256 that
    this machine sustains with 30 % to spare. ``cost`` is what such a frame was measured to cost; None until then.
    ``device`` renders the frames of all sessions; None where each session renders its own.
    """

    def __init__(
        self, load: Callable[[], EngineLike], demo_portrait: Path, clock: Clock, size: int | None = None
    ) -> None:
        self._load = load
        self._wanted_size = size
        self.size = 0
        self._clock = clock
        self._demo_portrait = demo_portrait
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.cost: FrameCost | None = None
        self.device: DeviceWorker | None = None
        self._renderer: Renderer | None = None
        self._loaded = self._submit(self._load_all)
        # Marks an error as seen: whoever waits for loading gets it, and it may be nobody.
        self._loaded.add_done_callback(lambda loaded: loaded.cancelled() or loaded.exception())
        threading.Thread(target=self._run, name="engine-host", daemon=True).start()

    @property
    def ready(self) -> bool:
        return self._loaded.done() and not self._loaded.cancelled() and self._loaded.exception() is None

    async def wait_loaded(self) -> None:
        """Raises whatever loading raised."""
        await asyncio.shield(self._loaded)

    async def enroll(self, image: npt.NDArray[np.uint8]) -> Any:
        """An avatar of an image, uint8 (H, W, 3) RGB; raises ``engine.errors.PortraitError``."""
        engine, _ = await asyncio.shield(self._loaded)
        return await self._submit(lambda: engine.enroll(image, size=self.size))

    async def open_session(self, avatar: Any | None, seed: int, size: int | None = None) -> EngineSession:
        """A session of ``avatar``, or of the demo portrait for None.

        Args:
            size: side of the head's frames in pixels; None is the server's. The avatar's own is the most.

        Raises:
            CapacityExceeded: no place is left. Refusal: ``bad_message``: the size is none that this server draws.
        """
        engine, demo = await asyncio.shield(self._loaded)
        drawn = [each for each in engine.sizes if each <= self.size]
        if size is not None and size not in drawn:
            raise Refusal("bad_message", f"This server draws heads of {listed(drawn)} px: name one of these as 'size'.")
        chosen = demo if avatar is None else avatar

        def opened() -> EngineSession:
            sized = chosen if size is None else engine.shrink(chosen, size)
            if self._renderer is None:
                return engine.open_session(sized, seed=seed)
            return engine.open_session(sized, seed=seed, renderer=self._renderer)

        return await self._submit(opened)

    async def close(self) -> None:
        """Let the thread end after the job at hand; does not wait for it."""
        self._jobs.put(None)
        if self.device is not None:
            self.device.stop()
        if not self._loaded.done():
            self._loaded.cancel()

    def _load_all(self) -> tuple[EngineLike, Any]:
        engine = self._load()
        for size in live_sizes(engine.sizes, self._wanted_size):
            avatar = engine.enroll(self._demo_portrait, size=size)
            measured = avatar
            if avatar.size < size:
                # Visitors' portraits may have the pixels that the demo face lacks.
                measured = engine.enroll(_enlarged(self._demo_portrait, 2 * size / avatar.size), size=size)
            cost = self._measured(engine, measured)
            if sustained(cost.slowest_ms):
                break
        self.size, self.cost = size, cost
        log.info(
            "%s: frames of %d px take %.1f ms to render and %.1f to encode; sessions that fit: %d",
            engine.runs_on,
            self.size,
            cost.render_ms,
            cost.encode_ms,
            capacity(cost, cores()),
        )
        if cost.device is not None:
            assert self._renderer is not None
            self.device = DeviceWorker(self._renderer, cost.device, self._clock)
            self.device.start()
        elif cost.render_ms > FRAME_MS:
            smaller = "--size 256 " if self.size > 256 and 256 in engine.sizes else ""
            log.warning(
                "a frame takes %.0f ms on this machine and one is due every %.0f: try %s--backend geometric",
                cost.render_ms,
                FRAME_MS,
                smaller,
            )
        return engine, avatar

    def _measured(self, engine: EngineLike, avatar: Any) -> FrameCost:
        if not engine.batches:
            render_ms, frames = measure_frames(lambda: engine.open_session(avatar))
            return FrameCost(render_ms=render_ms, encode_ms=measure_encoder_ms(frames))
        self._renderer = engine.open_renderer(_MAX_SESSIONS)
        return _measure_device(engine, avatar, self._renderer)

    def _submit(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        done: Future[_T] = Future()

        def job() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._jobs.put(job)
        return asyncio.wrap_future(done)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _enlarged(portrait: Path, factor: float) -> npt.NDArray[np.uint8]:
    rgb = load_image(portrait)
    return np.asarray(cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def _measure_device(engine: EngineLike, avatar: Any, renderer: Renderer) -> FrameCost:
    """Render batches of every size for nobody, so that all are ready, and measure what they take."""
    sessions = [engine.open_session(avatar, renderer=renderer) for _ in range(max(BUCKETS))]
    times, core_ms, frames = measure_batches(sessions, renderer)
    for session in sessions:
        renderer.leave(session.row)
        session.close()
    taken = ", ".join(f"{size}: {1e3 * times.of(size):.1f} ms" for size in times.buckets)
    log.info("batches on the device take %s", taken)
    return FrameCost(render_ms=core_ms, encode_ms=measure_encoder_ms(frames), device=times)
