"""The engine on a thread of its own: blocks of voice in, images with their place in the voice out.

At most ``_MAX_BLOCKS`` blocks wait. An engine that cannot keep up loses the oldest of them (``skipped_ms``): the mouth
skips, and images stay with their audio.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clients.audio import Samples
from engine.timebase import SAMPLE_RATE_HZ

_MAX_BLOCKS = 16


class EngineSession(Protocol):
    """What is used of ``engine.Session``."""

    @property
    def next_pts_samples(self) -> int: ...
    @property
    def lookahead_ms(self) -> float: ...
    def push_pcm(self, chunk: Samples, sample_rate_hz: int) -> list[Any]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Image:
    """A frame, uint8 (H, W, 3), and its place in the microphone's samples."""

    rgb: npt.NDArray[np.uint8]
    place: int


class EngineFeed:
    """``on_image`` is called on the engine's thread.

    Attributes:
        error: what ended the engine; None while it works.
    """

    def __init__(self, session: EngineSession, rate_hz: int, on_image: Callable[[Image], None]) -> None:
        self.error: BaseException | None = None
        self.skipped_ms = 0.0
        self._session = session
        self._rate_hz = rate_hz
        self._on_image = on_image
        self._blocks: deque[tuple[int, Samples]] = deque()
        self._commands: deque[Callable[[Any], object]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._expected = -1
        self._offsets: deque[tuple[int, int]] = deque()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, place: int, samples: Samples) -> None:
        """Queue the voice from ``place`` on."""
        with self._wake:
            self._blocks.append((place, samples))
            if len(self._blocks) > _MAX_BLOCKS:
                _, lost = self._blocks.popleft()
                self.skipped_ms += 1e3 * len(lost) / self._rate_hz
            self._wake.notify()

    def command(self, call: Callable[[Any], object]) -> None:
        """Call ``call(session)`` on the engine's thread before the next block."""
        with self._wake:
            self._commands.append(call)
            self._wake.notify()

    def stop(self, timeout_s: float) -> None:
        """End after the block at hand, or leave a thread that hangs behind."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def work(self) -> bool:
        """Do what was queued first; False when nothing is."""
        with self._wake:
            call = self._commands.popleft() if self._commands else None
            block = self._blocks.popleft() if call is None and self._blocks else None
        if call is not None:
            call(self._session)
        elif block is not None:
            self._hear(*block)
        return call is not None or block is not None

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._stopping or self._commands or self._blocks)
                    if self._stopping:
                        return
                self.work()
        except BaseException as error:  # handed to the camera's loop, which raises it
            self.error = error
        finally:
            self._session.close()

    def _hear(self, place: int, samples: Samples) -> None:
        if place != self._expected:
            begin = self._session.next_pts_samples
            self._offsets.append((begin, place - begin * self._rate_hz // SAMPLE_RATE_HZ))
        self._expected = place + len(samples)
        for frame in self._session.push_pcm(samples, self._rate_hz):
            while len(self._offsets) > 1 and self._offsets[1][0] <= frame.pts_samples:
                self._offsets.popleft()
            place_of_frame = frame.pts_samples * self._rate_hz // SAMPLE_RATE_HZ + self._offsets[0][1]
            self._on_image(Image(frame.rgb, place_of_frame))
