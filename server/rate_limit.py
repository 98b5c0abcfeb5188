"""How often something may happen: a token bucket."""


class RateLimit:
    """A token bucket: ``burst`` at once, ``per_second`` in the long run. Time comes from the caller."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._last_s: float | None = None

    def allow(self, now_s: float) -> bool:
        if self._last_s is not None:
            self._tokens = min(self._burst, self._tokens + (now_s - self._last_s) * self._per_second)
        self._last_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
