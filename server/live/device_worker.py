"""The one thread of a device that sessions share: it gathers their due frames into batches and renders them.

    session threads --jobs, each with its slot--> [batcher] --this thread: BatchRenderer--> answers, on this thread

Nothing waits here for long: a session asks for no more than a few frames at once (`server.live.worker`), and what is
late is left out as the batcher says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.live.batching import Batcher, BatchTimes, Slot
from server.live.clock import Clock
from server.live.engine_session import Renderer

if TYPE_CHECKING:
    from engine.batch.job import FrameJob
    from engine.batch.session_row import SessionRow

log = logging.getLogger(__name__)

Answer = Callable[[float], None]
"""Told that a job is rendered, and how many seconds of the device that took."""


@dataclass(frozen=True, slots=True)
class _Work:
    job: FrameJob
    answer: Answer


class DeviceWorker:
    """Owns ``renderer`` from ``start`` on. Sessions are known by their rows."""

    def __init__(self, renderer: Renderer, times: BatchTimes, clock: Clock) -> None:
        self._renderer = renderer
        self._clock = clock
        self._wake = threading.Condition()
        self._batcher: Batcher[_Work] = Batcher(times)
        self._leaving: list[SessionRow] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self.times = times
        self.batches = 0
        self.frames = 0
        self.hidden = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after the batch at hand; does not wait for it."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def join(self, row: SessionRow) -> None:
        with self._wake:
            self._batcher.join(row)

    def leave(self, row: SessionRow) -> None:
        """Withdraw what waits for ``row`` and free it; nothing is answered any more."""
        with self._wake:
            self._batcher.leave(row)
            self._leaving.append(row)
            self._wake.notify()

    def interrupt(self, row: SessionRow, generation: int) -> None:
        """Withdraw what waits and is older than ``generation``; it is not answered."""
        with self._wake:
            self._batcher.interrupt(row, generation)

    def ask(self, job: FrameJob, *, due_s: float, answer: Answer) -> None:
        """Have ``job`` rendered by ``due_s``; ``answer`` is called on this thread, unless the job was withdrawn."""
        with self._wake:
            work = _Work(job, answer)
            self._batcher.put(job.row, job.generation, work, due_s=due_s, now_s=self._clock.now_s())
            self._wake.notify()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._make(batch)

    def _next(self) -> list[Slot[_Work]] | None:
        """The next batch; empty after somebody has left; None at the end."""
        with self._wake:
            while not (self._stopping or self._leaving):
                now_s = self._clock.now_s()
                if batch := self._batcher.take(now_s):
                    return batch
                closes_s = self._batcher.closes_s()
                self._wake.wait(None if closes_s is None else max(0.0, closes_s - now_s))
            leaving, self._leaving = self._leaving, []
        for row in leaving:
            self._renderer.leave(row)
        return None if self._stopping else []

    def _make(self, batch: list[Slot[_Work]]) -> None:
        jobs = [slot.work.job for slot in batch]
        shown = [slot.shown for slot in batch]
        for job, is_shown in zip(jobs, shown, strict=True):
            job.shown = is_shown
        began_s = time.perf_counter()
        try:
            self._renderer.render(jobs)
        except Exception as error:  # nobody knows whose fault it is: all sessions of the batch end, no other
            log.exception("a batch of %d frames failed", len(batch))
            for job in jobs:
                job.error = error
        took_s = time.perf_counter() - began_s
        self.batches += 1
        self.frames += sum(shown)
        self.hidden += len(batch) - sum(shown)
        with self._wake:
            if all(shown):
                self.times.note(len(batch), took_s)
            current = [self._batcher.is_current(slot) for slot in batch]
        for slot, is_current in zip(batch, current, strict=True):
            if is_current:
                slot.work.answer(took_s / len(batch))
