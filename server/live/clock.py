"""The clock of everything that is live; tests hand in their own."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A clock that never goes backwards. Safe to read from any thread."""

    def now_s(self) -> float:
        """Seconds since some fixed moment."""
        ...

    async def sleep_until(self, when_s: float) -> None:
        """Return at ``when_s`` or soon after; if it is past, after one turn of the loop."""
        ...


class MonotonicClock:
    """``time.monotonic``."""

    def now_s(self) -> float:
        return time.monotonic()

    async def sleep_until(self, when_s: float) -> None:
        await asyncio.sleep(max(0.0, when_s - time.monotonic()))
