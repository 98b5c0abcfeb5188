"""The one place where the camera client reads a clock; tests hand in their own."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A clock that never goes backwards. Safe to read from any thread."""

    def now_s(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def wait(self, stop: threading.Event, until_s: float) -> bool:
        """Return at ``until_s``, or as soon as ``stop`` is set; whether it is set."""
        ...


class MonotonicClock:
    """``time.monotonic``."""

    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, until_s: float) -> bool:
        return stop.wait(max(0.0, until_s - time.monotonic()))
