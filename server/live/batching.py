"""Which frames of which sessions are rendered together, and when: pure logic, the time is given.

One device serves many sessions. Their jobs come when they like, each with the moment at which its image is due; a batch
of n takes as long as one of the next size that the device has a program for:

    sessions' queues      a: [3 4]   b: [7]   c: [1]          only the first of each queue can be rendered now
    earliest first        a3 (due 12 ms)  c1 (15)  b7 (31)
    one batch             closes when it is full or holds all sessions, when waiting for one frame more would make
                          a3 late, or when the first of them has waited for ``patience_s``

Drop policy: a frame that can only come late while its session's next one waits is moved, for the motion must go on, but
not shown; never more than three in a row. What an interrupt or a leaving session makes stale is withdrawn.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.batch.job import FrameJob
    from engine.batch.session_row import SessionRow

FRAME_S = 0.040
_MAX_HIDDEN_IN_A_ROW = 3
# A batch's time follows the last twenty or so; one that stalls counts as three usual ones at most.
_SMOOTHING = 0.1
_LARGEST_SURPRISE = 3.0


class BatchTimes:
    """Seconds that a batch takes, by its bucket; measured at the start and followed from then on."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        """``seconds`` by bucket; none is taken to be faster than a smaller one.

        Raises:
            ValueError: there is no bucket, or a number is not positive.
        """
        if not seconds or any(rows < 1 or value <= 0 for rows, value in seconds.items()):
            raise ValueError(f"batches of some sizes, and positive seconds for each, not {dict(seconds)}")
        rising = itertools.accumulate((value for _, value in sorted(seconds.items())), max)
        self._seconds = dict(zip(sorted(seconds), rising, strict=True))

    @property
    def largest(self) -> int:
        """Most rows of a batch."""
        return max(self._seconds)

    @property
    def buckets(self) -> tuple[int, ...]:
        return tuple(self._seconds)

    def bucket(self, rows: int) -> int:
        """The bucket of a batch of ``rows``, which must be 1 to ``largest``."""
        return next(bucket for bucket in self._seconds if bucket >= rows)

    def of(self, rows: int) -> float:
        """Seconds of a batch of ``rows``."""
        return self._seconds[self.bucket(rows)]

    def note(self, rows: int, seconds: float) -> None:
        """A batch of ``rows`` has taken ``seconds``; smaller ones take no more, and larger ones no less."""
        bucket = self.bucket(rows)
        before = self._seconds[bucket]
        now = before + _SMOOTHING * (min(max(seconds, 1e-6), _LARGEST_SURPRISE * before) - before)
        for size, value in self._seconds.items():
            self._seconds[size] = now if size == bucket else (min if size < bucket else max)(value, now)


def sessions_that_fit(times: BatchTimes, share: float = 0.8) -> int:
    """Sessions whose frames, one each in 40 ms, are made in ``share`` of that time, and each before its next.

    A frame waits at worst for the batch at hand, then for all that came before it.
    """
    fits = 0
    while True:
        full, rest = divmod(fits + 1, times.largest)
        all_s = full * times.of(times.largest) + (times.of(rest) if rest else 0.0)
        at_hand_s = times.of(min(fits + 1, times.largest))
        if all_s > share * FRAME_S or at_hand_s + all_s > FRAME_S:
            return fits
        fits += 1


@dataclass(slots=True)
class _Queue:
    hidden_in_a_row: int = 0
    jobs: deque[FrameJob] = field(default_factory=deque)


class Batcher:
    """Queues of the sessions that have joined, known by their rows. Knows no clock and belongs to one thread."""

    def __init__(self, times: BatchTimes, *, patience_s: float = 0.002, margin_s: float = 0.001) -> None:
        """
        Args:
            times: how long batches take; may change meanwhile.
            patience_s: how long an idle device waits for more frames at most; none of them gets later than it is due.
            margin_s: how long before it is due a frame should be done.
        """
        self.times = times
        self._patience_s, self._margin_s = patience_s, margin_s
        self._queues: dict[SessionRow, _Queue] = {}

    def __len__(self) -> int:
        """Frames that wait."""
        return sum(len(queue.jobs) for queue in self._queues.values())

    def join(self, row: SessionRow) -> None:
        """Let a session have frames rendered."""
        self._queues.setdefault(row, _Queue())

    def leave(self, row: SessionRow) -> list[FrameJob]:
        """Forget a session; returns its jobs that are not rendered any more."""
        queue = self._queues.pop(row, None)
        return [] if queue is None else list(queue.jobs)

    def withdraw(self, row: SessionRow) -> list[FrameJob]:
        """After an interrupt: forget the jobs of a session that wait; returns them."""
        queue = self._queues.get(row)
        if queue is None:
            return []
        self._queues[row] = _Queue()
        return list(queue.jobs)

    def put(self, job: FrameJob, now_s: float) -> bool:
        """Ask for a frame by ``job.due_s``; False if its session has left."""
        queue = self._queues.get(job.row)
        if queue is None:
            return False
        job.came_s = now_s
        queue.jobs.append(job)
        return True

    def closes_s(self) -> float | None:
        """When the next batch must begin, whatever else comes; None while nothing waits."""
        first = self._first()
        if not first:
            return None
        if len(first) >= min(self.times.largest, len(self._queues)):
            return first[0].came_s
        to_be_met_s = first[0].due_s - self._margin_s - self.times.of(len(first) + 1)
        return min(to_be_met_s, min(job.came_s for job in first) + self._patience_s)

    def take(self, now_s: float) -> list[FrameJob]:
        """The batch to begin now, at most one frame of each session, earliest first; empty while it may wait."""
        closes_s = self.closes_s()
        if closes_s is None or now_s < closes_s:
            return []
        batch = self._first()
        batch = batch[: self._rows(batch, now_s)]
        for job in batch:
            self._take(job, now_s)
        return batch

    def _first(self) -> list[FrameJob]:
        first = [queue.jobs[0] for queue in self._queues.values() if queue.jobs]
        return sorted(first, key=lambda job: (job.due_s, job.came_s))[: self.times.largest]

    def _rows(self, first: list[FrameJob], now_s: float) -> int:
        """As many as can be rendered before the earliest due time that can still be met."""
        ready_s = now_s + self._margin_s
        for index, job in enumerate(first):
            if ready_s + self.times.of(index + 1) <= job.due_s:
                return max(
                    rows for rows in range(index + 1, len(first) + 1) if ready_s + self.times.of(rows) <= job.due_s
                )
        return len(first)

    def _take(self, job: FrameJob, now_s: float) -> None:
        queue = self._queues[job.row]
        queue.jobs.popleft()
        late = now_s + self.times.of(1) > job.due_s
        job.shown = not (late and queue.jobs and queue.hidden_in_a_row < _MAX_HIDDEN_IN_A_ROW)
        queue.hidden_in_a_row = 0 if job.shown else queue.hidden_in_a_row + 1
