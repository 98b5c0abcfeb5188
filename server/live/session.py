"""A session: one voice, one avatar, any number of viewers.

    audio source --> jitter buffer --clock--> timeline --blocks--> worker (thread: engine) --frames--> viewers' sinks
                                                  `---------------- voice, delayed ---------------------^

    session.open_voice(live=True).push_pcm(samples, rate_hz)     audio in
    session.add_sink(sink)                                       frames out; ``session.timeline`` has the voice to them
    session.handle_control(Interrupt())                          gaze, intensity, pose, state
    stop = session.subscribe(print)                              events: state, stats, interrupted, error

A session ends once, whatever the cause; when ``close`` returns, its tasks, its thread, its viewers and its place in the
registry are free. Everything but the engine itself happens on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from engine.errors import CapacityExceeded
from server.live.audio_source import AudioSource
from server.live.avatar_state import AvatarState
from server.live.block import BLOCK_S
from server.live.clock import Clock
from server.live.device_worker import DeviceWorker
from server.live.engine_session import EngineSession
from server.live.frame import FrameSink, LiveFrame
from server.live.jitter_buffer import JitterBuffer
from server.live.messages import (
    Control,
    ErrorEvent,
    Event,
    Gaze,
    Intensity,
    Interrupt,
    Interrupted,
    Look,
    Ping,
    Pong,
    Pose,
    StateEvent,
    StatsEvent,
    TellState,
)
from server.live.timeline import MediaTimeline
from server.live.worker import EngineWorker, call_on_loop
from server.metrics import Metrics

log = logging.getLogger(__name__)

Subscriber = Callable[[Event], None]

_RENDER_ALLOWANCE_S = 0.035
_WORKER_TIMEOUT_S = 2.0
_STATS_BLOCKS = 50
_LATE_S = 0.020
# An engine that makes no frame in so many seconds' blocks hangs: frames are made of silence, too.
_HANGING_S = 10


class LiveSession:
    """Runs from ``start`` until ``close``."""

    def __init__(
        self,
        session_id: str,
        engine_session: EngineSession,
        clock: Clock,
        *,
        on_closed: Callable[[LiveSession], None],
        metrics: Metrics | None = None,
        device: DeviceWorker | None = None,
    ) -> None:
        """``device`` makes the frames of all sessions; None makes this one's on its own thread.

        Attributes:
            frame_size: height and width of the frames in pixels.
        """
        self.session_id = session_id
        self.frame_size = engine_session.frame_size
        self.label = session_id[:6]
        self._clock = clock
        self._on_closed = on_closed
        self._metrics = metrics or Metrics()
        self._loop = asyncio.get_running_loop()
        self.jitter_buffer = JitterBuffer()
        delay_s = engine_session.lookahead_ms / 1e3 + BLOCK_S + _RENDER_ALLOWANCE_S
        self.timeline = MediaTimeline(clock.now_s(), self.jitter_buffer, delay_blocks=-int(-delay_s // BLOCK_S))
        self.worker = EngineWorker(
            engine_session,
            clock,
            on_frame=call_on_loop(self._loop, self._frame_made),
            on_ended=call_on_loop(self._loop, self._worker_ended),
            departs_s=self.timeline.departure_s,
            name=self.label,
            device=device,
        )
        self.sinks: list[FrameSink] = []
        self.frames_made = 0
        self.frames_late = 0
        self._avatar_state = AvatarState()
        self._published_state: str | None = None
        self._commanded_gaze: tuple[float, float] | None = None
        self._seconds_without_frame = 0
        self._frames_before = 0
        self._voice: AudioSource | None = None
        self._subscribers: dict[Subscriber, FrameSink | None] = {}
        self._close_hooks: list[Callable[[str], Awaitable[None]]] = []
        self._worker_done = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.worker.start()
        self._ticker = asyncio.create_task(self._tick())

    @property
    def ending(self) -> bool:
        return self._closing is not None

    @property
    def state(self) -> str:
        """``speaking``, ``listening``, ``thinking`` or ``idle``."""
        return self._avatar_state.state

    def open_voice(self, *, live: bool) -> AudioSource:
        """Speak into the session; whoever spoke before is not heard any more."""
        if self._voice is not None:
            self._voice.close()
        self._voice = AudioSource(self.jitter_buffer, live=live)
        return self._voice

    def add_sink(self, sink: FrameSink) -> None:
        """Offer ``sink`` every frame from this moment on."""
        self.sinks.append(sink)

    def remove_sink(self, sink: FrameSink) -> None:
        """Stop ``sink`` and offer it nothing any more."""
        sink.stop()
        with contextlib.suppress(ValueError):
            self.sinks.remove(sink)

    def subscribe(self, send: Subscriber, sink: FrameSink | None = None) -> Callable[[], None]:
        """Call ``send`` with every event; statistics count the frames of ``sink``. Returns what ends it."""
        self._subscribers[send] = sink

        def unsubscribe() -> None:
            self._subscribers.pop(send, None)

        return unsubscribe

    def add_close_hook(self, close: Callable[[str], Awaitable[None]]) -> Callable[[], None]:
        """Await ``close(reason)`` when the session ends. Returns what takes it off the list."""
        self._close_hooks.append(close)

        def remove() -> None:
            with contextlib.suppress(ValueError):
                self._close_hooks.remove(close)

        return remove

    def handle_control(self, control: Control, reply: Subscriber | None = None) -> None:
        """Carry out a client's command; ``reply`` takes what is meant for this client alone."""
        match control:
            case Gaze() | Look():
                self._avatar_state.set_look(control)
            case TellState(state=state):
                self._avatar_state.set_state(state)
            case Intensity(value=value):
                self.worker.command(lambda session: session.set_intensity(value))
            case Pose(on=on):
                self.worker.command(lambda session: session.set_pose(on))
            case Interrupt():
                self.interrupt()
            case Ping(id=ping_id):
                if reply is not None:
                    reply(Pong(id=ping_id))
        self._publish_state()

    def interrupt(self) -> None:
        """Stop speaking now: nothing that was heard before leaves any more."""
        refill = self.timeline.interrupt(self._clock.now_s())
        self.worker.interrupt(self.timeline.generation, refill)
        for sink in self.sinks:
            sink.drop_stale()
        self._send(Interrupted(generation=self.timeline.generation))

    def end(self, reason: str) -> None:
        """Begin to close; returns at once."""
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(reason))

    async def close(self, reason: str) -> None:
        """Close and return when nothing of the session is left."""
        self.end(reason)
        assert self._closing is not None
        await asyncio.shield(self._closing)

    async def _close(self, reason: str) -> None:
        log.info("session %s: ends: %s", self.label, reason)
        try:
            self._send(StateEvent(state="ended"))
            self.worker.stop()
            if self._ticker is not None:
                self._ticker.cancel()
                await asyncio.wait({self._ticker})
            await asyncio.gather(*(close(reason) for close in list(self._close_hooks)), return_exceptions=True)
            for sink in list(self.sinks):
                self.remove_sink(sink)
            if self._voice is not None:
                self._voice.close()
            if self.worker.alive:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._worker_done.wait(), _WORKER_TIMEOUT_S)
        finally:
            self._subscribers.clear()
            self._metrics.voice_dropped(self.jitter_buffer.dropped_overflow_blocks * BLOCK_S)
            self._on_closed(self)

    async def _tick(self) -> None:
        """Feed the engine by the clock, once a block, and tell everyone how things are."""
        ticks, told_s = 0, self._clock.now_s()
        sent_before: dict[Subscriber, int] = {}
        try:
            while True:
                ticks += 1
                index = self._ticks_due()
                await self._clock.sleep_until(self.timeline.outgoing_due_s(index))
                blocks = self.timeline.advance(self._clock.now_s())
                if blocks:
                    self.worker.put(blocks)
                leaving = self.timeline.outgoing_audio(index)
                self._avatar_state.note_block(leaving is not None and leaving.voiced)
                self._publish_state()
                if ticks % _STATS_BLOCKS == 0:
                    self._check_engine()
                    now_s = self._clock.now_s()
                    sent_before = self._publish_stats(sent_before, max(now_s - told_s, 1e-3))
                    told_s = now_s
        except Exception:
            log.exception("session %s: the clock's task failed", self.label)
            self._fail("The session failed inside the server.", "internal error")

    def _check_engine(self) -> None:
        """Called about once a second."""
        made = self.frames_made > self._frames_before
        self._frames_before = self.frames_made
        self._seconds_without_frame = 0 if made else self._seconds_without_frame + 1
        if self._seconds_without_frame == _HANGING_S:
            log.error("session %s: no frame in %d s", self.label, _HANGING_S)
            self._fail("The avatar engine hangs; this session has ended.", "the engine hangs")

    def _ticks_due(self) -> int:
        return int((self._clock.now_s() - self.timeline.start_s) / BLOCK_S) + 1

    def _frame_made(self, frame: LiveFrame) -> None:
        self.frames_made += 1
        late = False
        if frame.generation == self.timeline.generation:
            slack_s = self.timeline.note_frame_ready(frame.place, self._clock.now_s())
            late = slack_s < -_LATE_S
            self.frames_late += late
        self._metrics.frame_made(self.worker.render_ms / 1e3, late)
        for sink in self.sinks:
            sink.offer(frame)

    def _publish_state(self) -> None:
        if self._avatar_state.gaze != self._commanded_gaze:
            self._commanded_gaze = gaze = self._avatar_state.gaze
            if gaze is None:
                self.worker.command(lambda session: session.clear_gaze())
            else:
                pitch, yaw = gaze
                self.worker.command(lambda session: session.set_gaze(pitch, yaw))
        if self._avatar_state.state != self._published_state:
            self._published_state = self._avatar_state.state
            self._send(StateEvent(state=self._published_state))

    def _publish_stats(self, sent_before: dict[Subscriber, int], elapsed_s: float) -> dict[Subscriber, int]:
        sent_now = {}
        for send, sink in list(self._subscribers.items()):
            sent = self.frames_made if sink is None else sink.sent
            sent_now[send] = sent
            send(
                StatsEvent(
                    fps=round((sent - sent_before.get(send, 0)) / elapsed_s, 1),
                    latency_ms=self.jitter_buffer.backlog_ms + round(1e3 * BLOCK_S * self.timeline.delay_blocks),
                    render_ms=round(self.worker.render_ms, 1),
                    frames_sent=sent,
                    frames_late=self.frames_late,
                    frames_dropped=0 if sink is None else sink.dropped,
                    voice_dropped_ms=20 * self.jitter_buffer.dropped_overflow_blocks,
                )
            )
        return sent_now

    def _send(self, event: Event) -> None:
        for send in list(self._subscribers):
            send(event)

    def _worker_ended(self, error: BaseException | None) -> None:
        self._worker_done.set()
        if isinstance(error, CapacityExceeded):
            self._fail("There is no room left for this session; try again later.", str(error), code="busy")
        elif error is not None:
            self._fail("The avatar engine failed; this session has ended.", "the engine failed")

    def _fail(self, message: str, reason: str, code: str = "internal") -> None:
        """End by a fault: what is told is the viewers' part of it, the log has the rest."""
        if self.ending:
            return
        self._metrics.session_failed()
        self._send(ErrorEvent(code=code, message=message))
        self.end(reason)
