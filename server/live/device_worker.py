"""The one thread of a device that sessions share: it gathers their due frames into batches and renders them.

    session threads --jobs, each with its due time--> [batcher] --this thread: renderer--> the same jobs, on this thread

Nothing waits here for long: a session asks for no more than a few frames at once (`server.live.worker`), and what is
late is left out as the batcher says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from server.live.batching import Batcher, BatchTimes
from server.live.clock import Clock
from server.live.engine_session import Renderer

if TYPE_CHECKING:
    from engine.batch.job import FrameJob
    from engine.batch.session_row import SessionRow

log = logging.getLogger(__name__)


class DeviceWorker:
    """Owns ``renderer`` from ``start`` on. Sessions are known by their rows."""

    def __init__(self, renderer: Renderer, times: BatchTimes, clock: Clock) -> None:
        self._renderer = renderer
        self._clock = clock
        self._wake = threading.Condition()
        self._batcher = Batcher(times)
        self._answers: dict[SessionRow, Callable[[FrameJob], None]] = {}
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

    def join(self, row: SessionRow, answer: Callable[[FrameJob], None]) -> None:
        """From now on ``answer`` is given each job of this session once it is rendered, on the device's thread."""
        with self._wake:
            self._answers[row] = answer
            self._batcher.join(row)

    def leave(self, row: SessionRow) -> None:
        """Withdraw what waits for ``row`` and free it; nothing is answered any more."""
        with self._wake:
            self._answers.pop(row, None)
            self._batcher.leave(row)
            self._leaving.append(row)
            self._wake.notify()

    def withdraw(self, row: SessionRow) -> None:
        """Forget the jobs of ``row`` that wait; one that is being rendered still comes back."""
        with self._wake:
            self._batcher.withdraw(row)

    def put(self, job: FrameJob) -> None:
        """Have a frame rendered by ``job.due_s``."""
        with self._wake:
            self._batcher.put(job, self._clock.now_s())
            self._wake.notify()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._render(batch)

    def _next(self) -> list[FrameJob] | None:
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

    def _render(self, batch: list[FrameJob]) -> None:
        began_s = time.perf_counter()
        try:
            self._renderer.render(batch)
        except Exception as error:  # nobody knows whose fault it is: all sessions of the batch end, no other
            log.exception("a batch of %d frames failed", len(batch))
            for job in batch:
                job.error = error
        took_s = time.perf_counter() - began_s
        shown = sum(job.shown for job in batch)
        self.batches += 1
        self.frames += shown
        self.hidden += len(batch) - shown
        with self._wake:
            if shown == len(batch):
                self.times.note(len(batch), took_s)
            answers = [self._answers.get(job.row) for job in batch]
        for job, answer in zip(batch, answers, strict=True):
            job.device_s = took_s / len(batch)
            if answer is not None:
                answer(job)
