"""A session: one browser, one voice, one avatar; and the register of those that run.

    peer --voice--> inbox --clock--> timeline --> worker thread (engine) --> picture track --> peer
                                        `------------------------------> sound track ------> peer

A session ends once, whatever the cause (the client's DELETE, a lost peer, a failure, shutdown); when
``close`` returns its tasks, its thread, its sockets and its place in the register are free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import TypeVar

import av
import numpy as np
from aiortc import RTCSessionDescription

from server.clock import Clock
from server.config import ServerConfig
from server.inbox import MEDIA_RATE_HZ, VoiceInbox
from server.peers import Peer
from server.protocol import (
    Answer,
    Control,
    ErrorEvent,
    Gaze,
    GazeOff,
    Interrupt,
    Interrupted,
    Ping,
    Pong,
    Refusal,
    StateEvent,
    StatsEvent,
)
from server.timeline import BLOCK_S, MediaTimeline
from server.tracks import AvatarAudioTrack, AvatarVideoTrack
from server.worker import EngineSession, EngineWorker

__all__ = ["SessionRegister", "SessionRunner"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_RENDER_ALLOWANCE_S = 0.035
_WORKER_TIMEOUT_S = 2.0
_STATS_BLOCKS = 50
_SPEAKING_HOLD_BLOCKS = 15


class SessionRunner:
    """Runs from ``start`` until ``close``. Everything but the engine itself happens on the event loop."""

    def __init__(
        self,
        session_id: str,
        engine_session: EngineSession,
        clock: Clock,
        config: ServerConfig,
        on_closed: Callable[[SessionRunner], None],
    ) -> None:
        self.session_id = session_id
        self._label = session_id[:6]
        self._clock = clock
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=MEDIA_RATE_HZ)
        self.inbox = VoiceInbox()
        delay_s = engine_session.lookahead_ms / 1e3 + BLOCK_S + _RENDER_ALLOWANCE_S
        self.timeline = MediaTimeline(clock.now_s(), self.inbox, delay_blocks=-int(-delay_s // BLOCK_S))
        self.video = AvatarVideoTrack(self.timeline, clock)
        self.audio = AvatarAudioTrack(self.timeline, clock)
        self.worker = EngineWorker(
            engine_session,
            clock,
            on_picture=self._from_thread(self.video.offer),
            on_ended=self._from_thread(self._worker_ended),
            name=self._label,
        )
        self.peer = Peer(
            self._label,
            clock,
            video=self.video,
            audio=self.audio,
            on_voice=self._hear,
            on_control=self._obey,
            on_gone=self.end,
            stun_urls=config.stun_urls,
            connect_timeout_s=config.connect_timeout_s,
            peer_timeout_s=config.peer_timeout_s,
        )
        self._worker_done = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._state = "idle"
        self._quiet_blocks = 0

    async def start(self, offer: RTCSessionDescription) -> Answer:
        """Answer a checked offer and begin to run.

        Raises:
            Refusal: ``bad_sdp``; the session is closed.
        """
        self.worker.start()
        self._ticker = asyncio.create_task(self._tick())
        try:
            return Answer(sdp=await self.peer.accept(offer), session_id=self.session_id)
        except BaseException:
            await self.close("offer refused")
            raise

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
        log.info("session %s: ends: %s", self._label, reason)
        try:
            self.peer.send(StateEvent(state="ended"))
            self.worker.stop()
            if self._ticker is not None:
                self._ticker.cancel()
                await asyncio.wait({self._ticker})
            await self.peer.close()
            if self.worker.alive:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._worker_done.wait(), _WORKER_TIMEOUT_S)
        finally:
            self._on_closed(self)

    async def _tick(self) -> None:
        """Feed the engine by the clock, once a block, and tell the browser how things are."""
        ticks, sent_before, told_s = 0, 0, self._clock.now_s()
        try:
            while True:
                ticks += 1
                await self._clock.sleep_until(self.timeline.outgoing_due_s(self._ticks_due()))
                blocks = self.timeline.advance(self._clock.now_s())
                if blocks:
                    self.worker.put(blocks)
                self._tell_state()
                if ticks % _STATS_BLOCKS == 0:
                    now_s = self._clock.now_s()
                    self.peer.send(self._stats((self.video.sent - sent_before) / max(now_s - told_s, 1e-3)))
                    sent_before, told_s = self.video.sent, now_s
        except Exception:
            log.exception("session %s: the clock's task failed", self._label)
            self.end("internal error")

    def _ticks_due(self) -> int:
        return int((self._clock.now_s() - self.timeline.start_s) / BLOCK_S) + 1

    def _hear(self, frame: av.AudioFrame) -> None:
        for resampled in self._resampler.resample(frame):
            samples = np.frombuffer(bytes(resampled.planes[0]), np.int16)
            self.inbox.push(samples[: resampled.samples])

    def _obey(self, control: Control) -> None:
        match control:
            case Gaze(pitch=pitch, yaw=yaw):
                self.worker.command(lambda session: session.set_gaze(pitch, yaw))
            case GazeOff():
                self.worker.command(lambda session: session.clear_gaze())
            case Interrupt():
                self.interrupt()
            case Ping(id=ping_id):
                self.peer.send(Pong(id=ping_id))

    def interrupt(self) -> None:
        """Stop speaking now: nothing that was heard before leaves any more."""
        refill = self.timeline.interrupt(self._clock.now_s())
        self.worker.interrupt(self.timeline.generation, refill)
        self.video.drop_stale()
        self.peer.send(Interrupted(generation=self.timeline.generation))

    def _tell_state(self) -> None:
        self._quiet_blocks = 0 if self.audio.voiced_now else self._quiet_blocks + 1
        state = "speaking" if self._quiet_blocks < _SPEAKING_HOLD_BLOCKS else "idle"
        if state != self._state:
            self._state = state
            self.peer.send(StateEvent(state=state))

    def _stats(self, fps: float) -> StatsEvent:
        return StatsEvent(
            fps=round(fps, 1),
            latency_ms=self.inbox.backlog_ms + round(1e3 * BLOCK_S * self.timeline.delay_blocks),
            render_ms=round(self.worker.render_ms, 1),
            frames_sent=self.video.sent,
            frames_late=self.video.late,
            frames_dropped=self.video.overtaken,
            voice_dropped_ms=20 * self.inbox.dropped_overflow_blocks,
        )

    def _worker_ended(self, error: BaseException | None) -> None:
        self._worker_done.set()
        if error is not None:
            self.peer.send(
                ErrorEvent(code="internal", message="The avatar engine failed; this session has ended.")
            )
            self.end("the engine failed")

    def _from_thread(self, call: Callable[[_T], None]) -> Callable[[_T], None]:
        def on_loop(value: _T) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(call, value)

        return on_loop


class SessionRegister:
    """Who runs now. A place is taken before any work is done for it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._places: dict[str, SessionRunner | None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def reserve(self) -> str:
        """Take a place; returns the new session's id.

        Raises:
            Refusal: ``busy``, with the time after which to try again.
        """
        if len(self._places) >= self._capacity:
            raise Refusal(
                "busy", "Another conversation is running here. Try again when it has ended.", retry_after_s=5
            )
        session_id = secrets.token_urlsafe(16)
        self._places[session_id] = None
        return session_id

    def fill(self, session_id: str, runner: SessionRunner) -> None:
        self._places[session_id] = runner

    def release(self, session_id: str) -> None:
        self._places.pop(session_id, None)

    def find(self, session_id: str) -> SessionRunner:
        """Raises Refusal ``not_found``."""
        runner = self._places.get(session_id)
        if runner is None:
            raise Refusal("not_found", "There is no such session.")
        return runner

    async def close_all(self, reason: str) -> None:
        runners = [runner for runner in self._places.values() if runner is not None]
        await asyncio.gather(*(runner.close(reason) for runner in runners), return_exceptions=True)
