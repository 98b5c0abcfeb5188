"""The one thread that runs an engine session by a clock: for a served session, an agent's avatar and a camera alike.

    caller --blocks, commands--> [waiting] --thread--> engine session --frames--> on_frame
                                              |           ^
                                         jobs v           |  rendered jobs
                                     the thread of a device that sessions share, where there is one

Drop policy: when more than ``max_waiting_ms`` of voice waits, the oldest block is left out of the *frames* (the caller
plays the voice whole) and counted; frames after the gap are placed where their audio is. Commands are never left out. A
session that waits for a few frames of a shared device hears nothing new, so voice waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from engine.timebase import SAMPLE_RATE_HZ
from server.live.block import MEDIA_RATE_HZ, Block
from server.live.clock import Clock
from server.live.device_worker import DeviceWorker
from server.live.engine_session import Command, EngineSession
from server.live.frame import LiveFrame

if TYPE_CHECKING:
    from engine.batch.job import FrameJob

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_RENDER_SMOOTHING = 0.05
# Jobs of one session at a shared device: two hops of poses, so that it is never idle between them.
_MAX_JOBS = 6
_DUE_BEFORE_DEPARTURE_S = 0.010


def call_on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[_T], None]) -> Callable[[_T], None]:
    """A function for other threads that has ``call`` run on ``loop``; once the loop is closed it does nothing."""

    def on_loop(value: _T) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call, value)

    return on_loop


class EngineWorker:
    """Owns ``session`` from ``start`` on; no other thread touches it.

    Attributes:
        skipped_ms: voice that was left out of the frames. hidden_frames: rendered too late to be shown.
        core_ms: what one frame takes of this thread, on average; render_ms: and of a shared device.
    """

    def __init__(
        self,
        session: EngineSession,
        clock: Clock,
        *,
        on_frame: Callable[[LiveFrame], None],
        on_ended: Callable[[BaseException | None], None],
        name: str,
        rate_hz: int = MEDIA_RATE_HZ,
        max_waiting_ms: float = 300,
        device: DeviceWorker | None = None,
        departs_s: Callable[[int], float] | None = None,
    ) -> None:
        """
        Args:
            on_frame: called with each frame, on the worker's thread.
            on_ended: called last, there too, with the error that ended the session, or None after ``stop``.
            rate_hz: of the voice; places of blocks and frames count its samples.
            device: renders the frames of this session and of others; None: they are rendered on the worker's thread.
            departs_s: when the frame of a place leaves, which a ``device`` has to know.
        """
        self._session = session
        self._clock = clock
        self._on_frame = on_frame
        self._on_ended = on_ended
        self._rate_hz = rate_hz
        self._max_waiting = round(max_waiting_ms * rate_hz / 1e3)
        self._device = device
        self._departs_s = departs_s or (lambda place: clock.now_s())
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], object]] = deque()
        self._blocks: deque[Block] = deque()
        self._waiting = 0
        self._stopping = self._working = False
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._jobs = 0
        self._generation = 0
        self._next_place: int | None = None
        self._offsets: deque[tuple[int, int]] = deque()
        self._busy_ms = 0.0
        self.skipped_ms = 0.0
        self.hidden_frames = 0
        self.core_ms = 0.0
        self.render_ms = 0.0

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def idle(self) -> bool:
        """Whether everything is done that was asked for so far."""
        with self._wake:
            return not (self._working or self._calls or self._blocks or self._jobs)

    def put(self, blocks: Sequence[Block]) -> None:
        """Queue voice for the engine. Never blocks."""
        with self._wake:
            self._blocks.extend(blocks)
            self._waiting += sum(len(block.samples) for block in blocks)
            while self._waiting > self._max_waiting:
                skipped = len(self._blocks.popleft().samples)
                self._waiting -= skipped
                self.skipped_ms += 1e3 * skipped / self._rate_hz
            self._wake.notify()

    def command(self, command: Command) -> None:
        """Run ``command(session)`` before the next block."""
        self._call(lambda: command(self._session))

    def interrupt(self, generation: int, refill: Sequence[Block]) -> None:
        """Drop what waits, begin this larger ``generation`` in the engine, then feed ``refill``, of it, at once."""
        with self._wake:
            self._generation = generation
            self._blocks.clear()
            self._waiting = 0
        self._call(partial(self._begin_generation, generation, tuple(refill)))

    def stop(self) -> None:
        """Ask the thread to end after the work at hand; ``on_ended`` tells when it has."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end; one that hangs is left behind."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def step(self) -> bool:
        """Do what was queued first, in place of the thread; False when nothing is. For simulations without threads."""
        with self._wake:
            call = self._take()
        if call is not None:
            call()
        return call is not None

    def _call(self, call: Callable[[], object]) -> None:
        with self._wake:
            self._calls.append(call)
            self._wake.notify()

    def _take(self) -> Callable[[], object] | None:
        if self._calls:
            return self._calls.popleft()
        if self._blocks and self._jobs < _MAX_JOBS:
            block = self._blocks.popleft()
            self._waiting -= len(block.samples)
            return partial(self._hear, block)
        return None

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            if self._device is not None:
                self._device.join(self._session.row, self._answer)
            while (call := self._next()) is not None:
                call()
        except BaseException as caught:  # the session's boundary: report, end this session, leave others alone
            log.exception("%s: the engine failed", self._thread.name)
            error = caught
        finally:
            if self._device is not None:
                self._device.leave(self._session.row)
            try:
                self._session.close()
            except Exception:
                log.exception("%s: while closing the engine session", self._thread.name)
            del self._session  # its buffers must not wait for the garbage collector
            self._working = False
            self._on_ended(error)

    def _next(self) -> Callable[[], object] | None:
        """Wait for something to do; None once the thread is to stop."""
        with self._wake:
            self._working = False
            while not self._stopping:
                if (call := self._take()) is not None:
                    self._working = True
                    return call
                self._wake.wait()
            return None

    def _hear(self, block: Block) -> None:
        if block.generation != self._generation:
            return
        if block.place != self._next_place:
            begin = self._session.next_pts_samples
            self._offsets.append((begin, block.place - begin * self._rate_hz // SAMPLE_RATE_HZ))
        self._next_place = block.place + len(block.samples)
        began_s = self._clock.now_s()
        jobs = self._session.listen(block.samples[:: block.every], self._rate_hz // block.every)
        self._note_busy(began_s)
        for job in jobs:
            job.place = self._place(job.pts_samples)
            self._jobs += 1
            if self._device is not None:
                job.due_s = self._departs_s(job.place) - _DUE_BEFORE_DEPARTURE_S
                self._device.put(job)
                continue
            began_s = self._clock.now_s()
            self._session.render(job)
            self._note_busy(began_s)
            self._finish(job)

    def _answer(self, job: FrameJob) -> None:
        """The shared device has rendered ``job``; called on its thread."""
        self._call(partial(self._finish, job))

    def _finish(self, job: FrameJob) -> None:
        if job.generation != self._generation:
            return
        self._jobs -= 1
        if job.error is None and not job.shown:
            self.hidden_frames += 1
            return
        began_s = self._clock.now_s()
        frame = self._session.postprocess(job)
        self._note_busy(began_s)
        self._note_cost(1e3 * job.device_s)
        self._on_frame(LiveFrame(frame.rgb, job.place, job.generation))

    def _begin_generation(self, generation: int, refill: Sequence[Block]) -> None:
        self._session.interrupt(generation)
        if self._device is not None:
            self._device.withdraw(self._session.row)
        self._jobs = 0
        self._next_place = None
        self._offsets.clear()
        for block in refill:
            self._hear(block)

    def _note_busy(self, began_s: float) -> None:
        self._busy_ms += 1e3 * (self._clock.now_s() - began_s)

    def _note_cost(self, device_ms: float) -> None:
        """A frame was finished."""
        core_ms, self._busy_ms = self._busy_ms, 0.0
        weight = _RENDER_SMOOTHING if self.render_ms else 1.0
        self.core_ms += (core_ms - self.core_ms) * weight
        self.render_ms += (core_ms + device_ms - self.render_ms) * weight

    def _place(self, pts_samples: int) -> int:
        """Where the engine's sample ``pts_samples`` lies in the voice; asked for rising samples."""
        while len(self._offsets) > 1 and self._offsets[1][0] <= pts_samples:
            self._offsets.popleft()
        return pts_samples * self._rate_hz // SAMPLE_RATE_HZ + self._offsets[0][1]
