"""The clock that tests inject where the product would read ``time.monotonic``."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class SteerableClock:
    """A clock that a test moves on, or that runs faster than time.

    With ``speed`` 0 it stands still until somebody waits for a moment, and is then at that moment: a test in one thread
    takes no time. With another it runs that many times as fast as real time, for servers whose threads and sockets
    do not wait for anybody.

    Args:
        speed: seconds of this clock in a real second.
        before_jump: awaited before a clock that stands still goes on, so that workers finish what is due first.
    """

    def __init__(self, speed: float = 0.0, before_jump: Callable[[], Awaitable[None]] | None = None) -> None:
        self.speed = speed
        self.before_jump = before_jump
        self._started_s = time.monotonic()
        self._ahead_s = 100.0

    def now_s(self) -> float:
        return self._ahead_s + self.speed * (time.monotonic() - self._started_s)

    def advance(self, seconds: float) -> None:
        """Leap ahead, as after a pause of the whole machine."""
        self._ahead_s += seconds

    def advance_to(self, when_s: float) -> None:
        """Leap to ``when_s`` if that is still to come."""
        self._ahead_s = max(self._ahead_s, when_s - self.speed * (time.monotonic() - self._started_s))

    async def sleep_until(self, when_s: float) -> None:
        if self.speed:
            await asyncio.sleep(max(0.0, when_s - self.now_s()) / self.speed)
            return
        if self.before_jump is not None:
            await self.before_jump()
        await asyncio.sleep(0)
        self.advance_to(when_s)
