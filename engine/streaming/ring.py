"""Bounded ring of samples or feature columns, addressed by their absolute place in the stream.

    capacity 8, after 11 pushes          start = 3                end = 11
        stream    0  1  2 | 3  4  5  6  7  8  9  10 | 11 ...
                  dropped |       readable          | not yet here

An hour of audio passes through the same few kilobytes; asking for what was dropped is a bug and says so.
"""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class Ring:
    """The last `capacity` items of a stream of float32 items of shape `item_shape` (() = single samples).

    With `before` given, items before the start of the stream read as that value (silence); without it,
    reading them raises like anything else that is not there.
    """

    def __init__(self, capacity: int, item_shape: tuple[int, ...] = (), before: float | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._items: Float32 = np.zeros((capacity, *item_shape), dtype=np.float32)
        self._before = before
        self._end = 0

    @property
    def capacity(self) -> int:
        """Most items kept."""
        return len(self._items)

    @property
    def end(self) -> int:
        """Absolute index one past the newest item = number of items pushed since the last reset."""
        return self._end

    @property
    def start(self) -> int:
        """Absolute index of the oldest item that can still be read."""
        return max(0, self._end - self.capacity)

    def push(self, items: Float32) -> None:
        """Append (n, *item_shape), any n; the oldest items beyond `capacity` are dropped."""
        if items.shape[1:] != self._items.shape[1:]:
            raise ValueError(f"items must have shape (n, {self._items.shape[1:]}), got {items.shape}")
        kept = items[-self.capacity :]
        first = self._end + len(items) - len(kept)
        slot = first % self.capacity
        head = min(len(kept), self.capacity - slot)
        self._items[slot : slot + head] = kept[:head]
        self._items[: len(kept) - head] = kept[head:]
        self._end += len(items)

    def read(self, start: int, stop: int) -> Float32:
        """Copy of items start..stop-1, (stop - start, *item_shape). IndexError if dropped or not yet here."""
        if stop < start:
            raise IndexError(f"cannot read from {start} back to {stop}")
        if stop > self._end:
            raise IndexError(f"item {stop - 1} is not here yet: the stream ends at {self._end}")
        blank = max(0, min(stop, 0) - start) if self._before is not None else 0
        first = start + blank
        if first < stop and first < self.start:
            raise IndexError(f"item {first} was dropped: the oldest kept is {self.start} (capacity {self.capacity})")
        out = np.empty((stop - start, *self._items.shape[1:]), dtype=np.float32)
        if blank:
            out[:blank] = self._before
        count = stop - first
        slot = first % self.capacity
        head = min(count, self.capacity - slot)
        out[blank : blank + head] = self._items[slot : slot + head]
        out[blank + head :] = self._items[: count - head]
        return out

    def reset(self) -> None:
        """Forget everything; the next item has index 0."""
        self._end = 0
        self._items.fill(0.0)
