"""The one thread that runs a session's engine.

    event loop --blocks, commands--> [bounded queue] --thread--> engine session --pictures--> event loop

Drop policy of the queue: past 300 ms of waiting voice the oldest block is left out of the *picture* (never of
the sound) and counted; the frames after the gap are placed on the clock where their sound is. Commands are
never dropped.
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

from server.clock import Clock
from server.inbox import BLOCK_SAMPLES, MEDIA_RATE_HZ
from server.timeline import Block
from server.tracks import Picture

__all__ = ["EngineSession", "EngineWorker"]

log = logging.getLogger(__name__)

_MAX_WAITING_BLOCKS = 15
_MEDIA_PER_ENGINE_SAMPLE = 3
_RENDER_SMOOTHING = 0.05


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
    def interrupt(self) -> Any: ...
    def close(self) -> None: ...


Command = Callable[[EngineSession], object]


@dataclass(frozen=True, slots=True)
class _Interrupt:
    generation: int
    refill: tuple[Block, ...]


class EngineWorker:
    """Owns ``session`` from ``start`` on; no other thread touches it.

    ``on_picture`` and ``on_ended(error)`` are called on the worker's thread; ``on_ended`` is the last call.
    """

    def __init__(
        self,
        session: EngineSession,
        clock: Clock,
        *,
        on_picture: Callable[[Picture], None],
        on_ended: Callable[[BaseException | None], None],
        name: str,
    ) -> None:
        self._session = session
        self._clock = clock
        self._on_picture = on_picture
        self._on_ended = on_ended
        self._wake = threading.Condition()
        self._blocks: deque[Block] = deque()
        self._commands: deque[Command | _Interrupt] = deque()
        self._stopping = False
        self._generation = 0
        self._next_index = 0
        self._offset_samples = 0
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self.skipped_blocks = 0
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
        try:
            while (item := self._next()) is not None:
                if isinstance(item, Block):
                    self._hear(item)
                elif isinstance(item, _Interrupt):
                    self._begin_generation(item)
                else:
                    item(self._session)
        except (
            BaseException
        ) as caught:  # the session's boundary: report, end this session, leave others alone
            log.exception("%s: the engine failed", self._thread.name)
            error = caught
        finally:
            try:
                self._session.close()
            except Exception:
                log.exception("%s: while closing the engine session", self._thread.name)
            del self._session  # its buffers must not wait for the garbage collector
            self._on_ended(error)

    def _next(self) -> Block | _Interrupt | Command | None:
        with self._wake:
            while not (self._stopping or self._commands or self._blocks):
                self._wake.wait()
            if self._stopping:
                return None
            return self._commands.popleft() if self._commands else self._blocks.popleft()

    def _hear(self, block: Block) -> None:
        if block.generation < self._generation:
            return
        if block.index != self._next_index:
            self._place(block.index, self._session.next_pts_samples)
        self._next_index = block.index + 1
        started_s = self._clock.now_s()
        frames = self._session.push_pcm(block.samples, MEDIA_RATE_HZ)
        if not frames:
            return
        elapsed_ms = 1e3 * (self._clock.now_s() - started_s) / len(frames)
        self.render_ms += (elapsed_ms - self.render_ms) * (_RENDER_SMOOTHING if self.render_ms else 1.0)
        for frame in frames:
            media_sample = frame.pts_samples * _MEDIA_PER_ENGINE_SAMPLE + self._offset_samples
            self._on_picture(Picture(frame.rgb, media_sample, self._generation))

    def _begin_generation(self, interrupt: _Interrupt) -> None:
        self._session.interrupt()
        self._generation = interrupt.generation
        if interrupt.refill:
            self._next_index = interrupt.refill[0].index
            self._place(self._next_index, self._session.next_pts_samples)
        else:
            self._next_index = -1
        for block in interrupt.refill:
            self._hear(block)

    def _place(self, block_index: int, engine_sample: int) -> None:
        """From here on, the engine's ``engine_sample`` (16 kHz) is the first sample of that block."""
        self._offset_samples = block_index * BLOCK_SAMPLES - engine_sample * _MEDIA_PER_ENGINE_SAMPLE
