"""The one thread that runs a session's engine.

    event loop --blocks, commands--> [bounded queue] --thread--> engine session --pictures--> event loop
                                                            |        ^
                                                 requests   v        |  made frames
                                                 the thread of a device that sessions share, where there is one

Drop policy of the queue: past 300 ms of waiting voice the oldest block is left out of the *image* (never of
the audio) and counted; the frames after the gap are placed on the clock where their audio is. Commands are
never dropped. A session that waits for a few frames of a shared device hears nothing new, so voice waits here.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from server.live.clock import Clock
from server.live.device_worker import DeviceWorker
from server.live.frame import LiveFrame
from server.live.jitter_buffer import BLOCK_SAMPLES, MEDIA_RATE_HZ
from server.live.timeline import Block

log = logging.getLogger(__name__)

_MAX_WAITING_BLOCKS = 15
_MEDIA_PER_ENGINE_SAMPLE = 3
_RENDER_SMOOTHING = 0.05
_MAX_ASKED_FRAMES = 6
_DUE_BEFORE_DEPARTURE_S = 0.010


class EngineFrame(Protocol):
    @property
    def rgb(self) -> npt.NDArray[np.uint8]: ...
    @property
    def pts_samples(self) -> int: ...


class EngineSession(Protocol):
    """What the server needs of ``engine.Session``."""

    @property
    def lookahead_ms(self) -> float: ...
    @property
    def next_pts_samples(self) -> int: ...
    def push_pcm(self, chunk: npt.NDArray[np.int16], sample_rate_hz: int) -> Sequence[EngineFrame]: ...
    def set_gaze(self, pitch_rad: float, yaw_rad: float) -> None: ...
    def clear_gaze(self) -> None: ...
    def set_intensity(self, intensity: float) -> None: ...
    def set_pose(self, moving: bool) -> None: ...
    def interrupt(self, generation: int | None = None) -> int: ...
    def close(self) -> None: ...


class SharedSession(EngineSession, Protocol):
    """And what it needs of one whose frames are made by a device that sessions share."""

    @property
    def row(self) -> Any: ...
    def listen(self, chunk: npt.NDArray[np.int16], sample_rate_hz: int) -> Sequence[Any]: ...
    def finish(self, job: Any) -> EngineFrame: ...


Command = Callable[[EngineSession], object]


@dataclass(frozen=True, slots=True)
class _Interrupt:
    generation: int
    refill: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """A job that the shared device has rendered."""

    job: Any
    media_sample: int
    interrupts: int
    device_ms: float


class EngineWorker:
    """Owns ``session`` from ``start`` on; no other thread touches it.

    ``on_frame`` and ``on_ended(error)`` are called on the worker's thread; ``on_ended`` is the last call. With
    ``device`` the session, a `SharedSession`, has its frames made there; ``departs_s(media_sample)`` says when each
    leaves.
    """

    def __init__(
        self,
        session: EngineSession,
        clock: Clock,
        *,
        on_frame: Callable[[LiveFrame], None],
        on_ended: Callable[[BaseException | None], None],
        departs_s: Callable[[int], float],
        name: str,
        device: DeviceWorker | None = None,
    ) -> None:
        self._session: Any = session
        self._clock = clock
        self._device = device
        self._on_frame = on_frame
        self._on_ended = on_ended
        self._departs_s = departs_s
        self._wake = threading.Condition()
        self._blocks: deque[Block] = deque()
        self._commands: deque[Command | _Interrupt] = deque()
        self._made: deque[_Made] = deque()
        self._asked_frames = 0
        self._interrupts = 0
        self._stopping = False
        self._generation = 0
        self._next_index = 0
        self._offset_samples = 0
        self._busy_ms = 0.0
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self.skipped_blocks = 0
        self.hidden_frames = 0
        self.core_ms = 0.0
        self.render_ms = 0.0

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def put(self, blocks: Sequence[Block]) -> None:
        """Queue voice for the engine. Never blocks."""
        with self._wake:
            self._blocks.extend(blocks)
            while len(self._blocks) > _MAX_WAITING_BLOCKS:
                self._blocks.popleft()
                self.skipped_blocks += 1
            self._wake.notify()

    def command(self, command: Command) -> None:
        """Run ``command(session)`` before the next block."""
        with self._wake:
            self._commands.append(command)
            self._wake.notify()

    def interrupt(self, generation: int, refill: Sequence[Block]) -> None:
        """Drop what waits, interrupt the engine, then feed ``refill`` at once."""
        with self._wake:
            self._blocks.clear()
            self._commands.append(_Interrupt(generation, tuple(refill)))
            self._wake.notify()

    def stop(self) -> None:
        """Ask the thread to end after the block at hand; ``on_ended`` tells when it has."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def _run(self) -> None:
        error: BaseException | None = None
        row = None if self._device is None else self._session.row
        try:
            if self._device is not None:
                self._device.join(row)
            while (item := self._next()) is not None:
                if isinstance(item, Block):
                    self._hear(item)
                elif isinstance(item, _Made):
                    self._finish(item)
                elif isinstance(item, _Interrupt):
                    self._begin_generation(item)
                else:
                    item(self._session)
        except BaseException as caught:  # the session's boundary: report, end this session, leave others alone
            log.exception("%s: the engine failed", self._thread.name)
            error = caught
        finally:
            if self._device is not None:
                self._device.leave(row)
            try:
                self._session.close()
            except Exception:
                log.exception("%s: while closing the engine session", self._thread.name)
            del self._session  # its buffers must not wait for the garbage collector
            self._on_ended(error)

    def _next(self) -> Block | _Made | _Interrupt | Command | None:
        with self._wake:
            while True:
                if self._stopping:
                    return None
                if self._commands:
                    return self._commands.popleft()
                if self._made:
                    return self._made.popleft()
                if self._blocks and self._asked_frames < _MAX_ASKED_FRAMES:
                    return self._blocks.popleft()
                self._wake.wait()

    def _hear(self, block: Block) -> None:
        if block.generation < self._generation:
            return
        if block.index != self._next_index:
            self._place(block.index, self._session.next_pts_samples)
        self._next_index = block.index + 1
        began_s = self._clock.now_s()
        if self._device is not None:
            jobs = self._session.listen(block.samples, MEDIA_RATE_HZ)
            self._busy_ms += 1e3 * (self._clock.now_s() - began_s)
            for job in jobs:
                self._ask(self._device, job)
            return
        frames = self._session.push_pcm(block.samples, MEDIA_RATE_HZ)
        self._busy_ms += 1e3 * (self._clock.now_s() - began_s)
        if frames:
            self._note_cost(len(frames), 0.0)
        for frame in frames:
            self._on_frame(LiveFrame(frame.rgb, self._media_sample(frame.pts_samples), self._generation))

    def _ask(self, device: DeviceWorker, job: Any) -> None:
        media_sample = self._media_sample(job.pts_samples)
        interrupts = self._interrupts

        def answer(job: Any, device_s: float) -> None:
            with self._wake:
                self._made.append(_Made(job, media_sample, interrupts, 1e3 * device_s))
                self._wake.notify()

        self._asked_frames += 1
        due_s = self._departs_s(media_sample) - _DUE_BEFORE_DEPARTURE_S
        device.ask(job, due_s=due_s, answer=answer)

    def _finish(self, made: _Made) -> None:
        if made.interrupts != self._interrupts:
            return
        self._asked_frames -= 1
        if made.job.error is None and not made.job.shown:
            self.hidden_frames += 1
            return
        began_s = self._clock.now_s()
        frame = self._session.finish(made.job)
        self._busy_ms += 1e3 * (self._clock.now_s() - began_s)
        self._note_cost(1, made.device_ms)
        self._on_frame(LiveFrame(frame.rgb, made.media_sample, self._generation))

    def _begin_generation(self, interrupt: _Interrupt) -> None:
        engine_generation = self._session.interrupt()
        if self._device is not None:
            self._device.interrupt(self._session.row, engine_generation)
        self._interrupts += 1
        self._asked_frames = 0
        self._generation = interrupt.generation
        if interrupt.refill:
            self._next_index = interrupt.refill[0].index
            self._place(self._next_index, self._session.next_pts_samples)
        else:
            self._next_index = -1
        for block in interrupt.refill:
            self._hear(block)

    def _note_cost(self, frames: int, device_ms: float) -> None:
        """``frames`` were finished since the last call."""
        core_ms, self._busy_ms = self._busy_ms / frames, 0.0
        weight = _RENDER_SMOOTHING if self.render_ms else 1.0
        self.core_ms += (core_ms - self.core_ms) * weight
        self.render_ms += (core_ms + device_ms - self.render_ms) * weight

    def _media_sample(self, engine_sample: int) -> int:
        return engine_sample * _MEDIA_PER_ENGINE_SAMPLE + self._offset_samples

    def _place(self, block_index: int, engine_sample: int) -> None:
        """From here on, the engine's ``engine_sample`` (16 kHz) is the first sample of that block."""
        self._offset_samples = block_index * BLOCK_SAMPLES - engine_sample * _MEDIA_PER_ENGINE_SAMPLE
