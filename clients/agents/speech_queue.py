"""What an agent wants said, in order: between a sender faster than speech and a mouth that takes 40 ms at a time.

    push, mark (any size, any pace)  -> [ samples | end | samples .. ] ->  take (a step of 40 ms)

Drop policy: nothing but what ``clear`` takes away. Only past ``max_waiting_s`` the newest audio goes, and is counted.

After it ran dry it waits for two steps, or for an end of speech, before it gives audio again; what has waited for
200 ms without more coming is said as it is. No clock, no locks.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

VOICE_RATE_HZ = 48_000
STEP_SAMPLES = 1_920

_START_SAMPLES = 2 * STEP_SAMPLES
_PATIENT_TAKES = 5

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One step: ``samples`` int16 (n,), n at most 1920 and less only at an end of speech; None is silence.

    ``marks`` are those that come after these samples.
    """

    samples: Samples | None
    marks: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Mark:
    place: int
    ends: bool
    item: object


class SpeechQueue:
    """Places count samples at 48 kHz since the start, dropped ones included."""

    def __init__(self, max_waiting_s: float = 600.0) -> None:
        self._max_waiting = round(max_waiting_s * VOICE_RATE_HZ)
        self._pieces: deque[Samples] = deque()
        self._marks: deque[_Mark] = deque()
        self._running = False
        self._dry_takes = 0
        self.pushed = 0
        self.taken = 0
        self.dropped = 0

    def push(self, samples: Samples) -> None:
        """Append int16 (n,), 48 kHz mono."""
        room = self._max_waiting - (self.pushed - self.taken)
        kept = samples[: max(room, 0)]
        self.dropped += len(samples) - len(kept)
        if len(kept):
            self._pieces.append(kept)
            self.pushed += len(kept)

    def mark(self, item: object, *, ends: bool) -> None:
        """Append something that leaves after the audio before it. ``ends``: the audio before it is complete."""
        self._marks.append(_Mark(self.pushed, ends, item))

    @property
    def empty(self) -> bool:
        return self.pushed == self.taken and not self._marks

    def take(self) -> Said:
        """The next 40 ms."""
        if any(mark.ends and mark.place <= self.taken for mark in self._marks):
            return Said(samples=None, marks=self._passed())
        end = next((mark.place for mark in self._marks if mark.ends), None)
        ready = (self.pushed if end is None else end) - self.taken
        enough = end is not None or ready >= (STEP_SAMPLES if self._running else _START_SAMPLES)
        if not enough and (ready == 0 or self._dry_takes < _PATIENT_TAKES):
            self._running = False
            self._dry_takes += ready > 0
            return Said(samples=None, marks=self._passed())
        count = min(ready, STEP_SAMPLES)
        self._running = count == STEP_SAMPLES
        self._dry_takes = 0
        return Said(samples=self._cut(count), marks=self._passed())

    def clear(self) -> list[object]:
        """Forget everything that waits; gives the marks among it."""
        marks = [mark.item for mark in self._marks]
        self._pieces.clear()
        self._marks.clear()
        self._running = False
        self._dry_takes = 0
        self.taken = self.pushed
        return marks

    def _cut(self, count: int) -> Samples:
        parts = []
        self.taken += count
        while count:
            piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft(piece[count:])
                piece = piece[:count]
            parts.append(piece)
            count -= len(piece)
        return np.concatenate(parts)

    def _passed(self) -> tuple[object, ...]:
        marks = []
        while self._marks and self._marks[0].place <= self.taken:
            marks.append(self._marks.popleft().item)
        return tuple(marks)
