"""What an operator watches, in the text form that Prometheus reads. One registry a server; no ids, no addresses."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_FRAME_BUCKETS_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2)
_INTERRUPT_BUCKETS_S = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.5)
_CONNECT_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """Counts and measures; ``text`` gives them all."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "gohd_http_requests", "Answers by route and status.", ["route", "status"], registry=registry
        )
        self._refusals = Counter("gohd_refusals", "Refusals by code.", ["code"], registry=registry)
        self._sessions = Gauge("gohd_sessions", "Sessions that run.", registry=registry)
        self._capacity = Gauge("gohd_session_capacity", "Sessions that fit.", registry=registry)
        self._started = Counter("gohd_sessions_started", "Sessions since the start.", registry=registry)
        self._failed = Counter("gohd_sessions_failed", "Sessions that a fault ended.", registry=registry)
        self._viewers = Gauge("gohd_viewers", "Peers that watch.", registry=registry)
        self._frames = Counter("gohd_frames", "Frames that the engine made.", registry=registry)
        self._late = Counter("gohd_frames_late", "Frames past their moment.", registry=registry)
        self._dropped = Counter("gohd_voice_dropped_seconds", "Voice that was lost.", registry=registry)
        self._render = Histogram(
            "gohd_render_seconds", "Time to make a frame.", buckets=_FRAME_BUCKETS_S, registry=registry
        )
        self._interrupt = Histogram(
            "gohd_interrupt_seconds",
            "From an interrupt to the first frame after it.",
            buckets=_INTERRUPT_BUCKETS_S,
            registry=registry,
        )
        self._first_frame = Histogram(
            "gohd_first_frame_seconds",
            "From an offer to the first frame that leaves.",
            buckets=_CONNECT_BUCKETS_S,
            registry=registry,
        )

    def answered(self, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()

    def refused(self, code: str) -> None:
        self._refusals.labels(code).inc()

    def sessions(self, running: int, capacity: int) -> None:
        self._sessions.set(running)
        self._capacity.set(capacity)

    def session_started(self) -> None:
        self._started.inc()

    def session_failed(self) -> None:
        self._failed.inc()

    def viewers(self, change: int) -> None:
        self._viewers.inc(change)

    def frame_made(self, render_s: float, late: bool) -> None:
        self._frames.inc()
        self._render.observe(render_s)
        if late:
            self._late.inc()

    def voice_dropped(self, seconds: float) -> None:
        self._dropped.inc(seconds)

    def interrupted(self, seconds: float) -> None:
        self._interrupt.observe(seconds)

    def first_frame(self, seconds: float) -> None:
        self._first_frame.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
