"""Which frames of which sessions are made together, and when: pure logic, the time is given.

One device serves many sessions. Their frames come when they like, each with the moment at which it must be done, its
slot; a batch of n frames takes as long as one of the next size that the device has a program for:

    sessions' queues      a: [3 4]   b: [7]   c: [1]          only the first of each queue can be made now
    earliest first        a3 (due 12 ms)  c1 (15)  b7 (31)
    one batch             closes when it is full or holds all sessions, when waiting for one frame more would make
                          a3 late, or when the first of them has waited for ``patience_s``

Drop policy: a frame that can only come late while its session's next one waits is moved, for the motion must go on, but
not shown; never more than three in a row. What an interrupt or a leaving session makes stale is withdrawn.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

FRAME_S = 0.040
_MAX_HIDDEN_IN_A_ROW = 3
_SMOOTHING = 0.1
_LARGEST_SURPRISE = 3.0

Work = TypeVar("Work")


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


@dataclass(frozen=True, slots=True)
class Slot(Generic[Work]):
    """A frame that waits.

    Attributes:
        session: whose it is; generation: the session's when it was asked for.
        work: what is to be done, the caller's own.
        due_s: when it must be done; number: order of coming, among all.
        shown: False if the image would come too late and a newer one waits.
    """

    session: Hashable
    generation: int
    work: Work
    due_s: float
    came_s: float
    number: int
    shown: bool = True


@dataclass(slots=True)
class _Queue(Generic[Work]):
    generation: int = 0
    hidden_in_a_row: int = 0
    slots: deque[Slot[Work]] = field(default_factory=deque)


class Batcher(Generic[Work]):
    """Queues of the sessions that have joined. Knows no clock and belongs to one thread."""

    def __init__(self, times: BatchTimes, *, patience_s: float = 0.002, margin_s: float = 0.001) -> None:
        """
        Args:
            times: how long batches take; may change meanwhile.
            patience_s: how long an idle device waits for more frames at most; none of them gets later than its slot.
            margin_s: how long before its slot a frame should be done.
        """
        self.times = times
        self._patience_s, self._margin_s = patience_s, margin_s
        self._queues: dict[Hashable, _Queue[Work]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Frames that wait."""
        return sum(len(queue.slots) for queue in self._queues.values())

    @property
    def sessions(self) -> int:
        """Sessions that have joined."""
        return len(self._queues)

    def join(self, session: Hashable) -> None:
        """Let ``session`` have frames made."""
        self._queues.setdefault(session, _Queue())

    def leave(self, session: Hashable) -> list[Work]:
        """Forget ``session``; returns what is not made any more."""
        queue = self._queues.pop(session, None)
        return [] if queue is None else [slot.work for slot in queue.slots]

    def put(self, session: Hashable, generation: int, work: Work, *, due_s: float, now_s: float) -> bool:
        """Ask for a frame; False if the session has left or is of a newer generation."""
        queue = self._queues.get(session)
        if queue is None or generation < queue.generation:
            return False
        queue.slots.append(Slot(session, generation, work, due_s, now_s, self._count))
        self._count += 1
        return True

    def interrupt(self, session: Hashable, generation: int) -> list[Work]:
        """Withdraw the frames of ``session`` that are older than ``generation``; returns them."""
        queue = self._queues.get(session)
        if queue is None or generation <= queue.generation:
            return []
        queue.generation, queue.hidden_in_a_row = generation, 0
        stale = [slot.work for slot in queue.slots if slot.generation < generation]
        queue.slots = deque(slot for slot in queue.slots if slot.generation >= generation)
        return stale

    def is_current(self, slot: Slot[Work]) -> bool:
        """Whether the session is there and of the generation that it had; ask again when the frame is made."""
        queue = self._queues.get(slot.session)
        return queue is not None and slot.generation >= queue.generation

    def closes_s(self) -> float | None:
        """When the next batch must begin, whatever else comes; None while nothing waits."""
        first = self._first()
        if not first:
            return None
        if len(first) >= min(self.times.largest, len(self._queues)):
            return first[0].came_s
        to_be_met_s = first[0].due_s - self._margin_s - self.times.of(len(first) + 1)
        return min(to_be_met_s, min(slot.came_s for slot in first) + self._patience_s)

    def take(self, now_s: float) -> list[Slot[Work]]:
        """The batch to begin now, at most one frame of each session, earliest first; empty while it may wait."""
        closes_s = self.closes_s()
        if closes_s is None or now_s < closes_s:
            return []
        batch = self._first()
        batch = batch[: self._rows(batch, now_s)]
        return [self._taken(slot, now_s) for slot in batch]

    def _first(self) -> list[Slot[Work]]:
        first = [queue.slots[0] for queue in self._queues.values() if queue.slots]
        return sorted(first, key=lambda slot: (slot.due_s, slot.number))[: self.times.largest]

    def _rows(self, first: list[Slot[Work]], now_s: float) -> int:
        """As many as can be made before the earliest slot that can still be met."""
        ready_s = now_s + self._margin_s
        for index, slot in enumerate(first):
            if ready_s + self.times.of(index + 1) <= slot.due_s:
                return max(
                    rows for rows in range(index + 1, len(first) + 1) if ready_s + self.times.of(rows) <= slot.due_s
                )
        return len(first)

    def _taken(self, slot: Slot[Work], now_s: float) -> Slot[Work]:
        queue = self._queues[slot.session]
        queue.slots.popleft()
        late = now_s + self.times.of(1) > slot.due_s
        if not (late and queue.slots and queue.hidden_in_a_row < _MAX_HIDDEN_IN_A_ROW):
            queue.hidden_in_a_row = 0
            return slot
        queue.hidden_in_a_row += 1
        return Slot(slot.session, slot.generation, slot.work, slot.due_s, slot.came_s, slot.number, shown=False)
