"""From microphone to camera, with the voice held back to fit.

    microphone --hear--> playout (voice, held back) --speak--> speaker
                   `---> worker (engine's thread) --> frames --turn--> camera
                                                        ^
                             when is its voice heard? --'

Audio is the master: a frame is sent at the moment at which its place in the voice is heard, whatever the clocks of
microphone, speaker and machine do. Without a speaker the voice is only counted, by the machine's clock.

Drop policy for frames: at most ``_MAX_FRAMES`` wait for their moment, and the oldest goes; of those that are late
only the newest is sent (``overtaken`` counts both). When none comes, the last one is sent again every 100 ms.
"""

import logging
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clients.audio import AudioStream, Samples
from clients.camera.compositor import Compositor
from clients.camera.device import VirtualCamera
from clients.camera.playout import VoicePlayout
from engine.errors import DeviceLost
from server.live.block import BLOCK_MS, Block
from server.live.clock import Clock
from server.live.engine_session import EngineSession
from server.live.frame import LiveFrame
from server.live.frame_queue import FrameQueue
from server.live.worker import EngineWorker

_log = logging.getLogger(__name__)

_MAX_FRAMES = 8
_MAX_WAITING_MS = 320
# What a frame may take at first; the delay follows what they really take.
_RENDER_ALLOWANCE_MS = 35
_POLL_S = 0.005
_COMPOSE_SMOOTHING = 0.1
_REPEAT_S = 0.100
_LOST_AFTER_S = 3.0
_MUTED_AFTER_S = 5.0
_END_S = 0.7
_STOOD_STILL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What happened so far; times in milliseconds of audio."""

    sent: int
    repeated: int
    overtaken: int
    delay_ms: float
    cut_ms: float
    starved_ms: float
    spliced_ms: float
    skipped_ms: float


class LiveCamera:
    """``hear`` and ``speak`` are called by the sound card's threads, ``turn`` by ``run``."""

    def __init__(
        self,
        session: EngineSession,
        camera: VirtualCamera,
        canvas: Compositor,
        clock: Clock,
        *,
        rate_hz: int,
        speaks: bool,
    ) -> None:
        self.playout = VoicePlayout(rate_hz, session.lookahead_ms + BLOCK_MS + _RENDER_ALLOWANCE_MS)
        self.worker = EngineWorker(
            session,
            clock,
            on_frame=self._offer,
            on_ended=self._end,
            name="camera",
            rate_hz=rate_hz,
            max_waiting_ms=_MAX_WAITING_MS,
        )
        self._camera = camera
        self._canvas = canvas
        self._clock = clock
        self._speaks = speaks
        self._streams: dict[str, AudioStream] = {}
        self._heard = 0
        self._error: BaseException | None = None
        self._frames = FrameQueue(_MAX_FRAMES)
        self._composed: tuple[LiveFrame, npt.NDArray[np.uint8]] | None = None
        self._compose_s = 0.0
        self._shown = canvas.empty()
        now_s = clock.now_s()
        self._sent_s = float("-inf")
        self._counted_s = now_s
        self._alive_s = {"microphone": now_s, "audio output": now_s}
        self._audio_s: float | None = now_s
        self._turned_s = now_s
        self._sent = self._repeated = 0

    @property
    def counters(self) -> Counters:
        playout = self.playout
        return Counters(
            sent=self._sent,
            repeated=self._repeated,
            overtaken=self._frames.overtaken,
            delay_ms=playout.delay_ms,
            cut_ms=playout.cut_ms,
            starved_ms=playout.starved_ms,
            spliced_ms=playout.spliced_ms,
            skipped_ms=self.worker.skipped_ms,
        )

    def hear(self, samples: Samples) -> None:
        """Take int16 (n,) from the microphone."""
        now_s = self._clock.now_s()
        self._alive_s["microphone"] = now_s
        if samples.any():
            self._audio_s = now_s
        self.playout.push(samples)
        self.worker.put([Block(self._heard, samples)])
        self._heard += len(samples)

    def speak(self, count: int, leaves_in_s: float) -> Samples:
        """int16 (count,) for the speaker, of which the first is heard in ``leaves_in_s``."""
        now_s = self._clock.now_s()
        self._alive_s["audio output"] = now_s
        return self.playout.pull(count, now_s + leaves_in_s)

    def watch(self, **streams: AudioStream) -> None:
        """Streams (``microphone``, ``speaker``) whose end ends ``run``."""
        self._streams.update(streams)

    def run(self, stop: threading.Event) -> None:
        """Show frames until ``stop`` is set; then the engine's thread has ended too.

        Raises:
            DeviceLost: microphone, speaker or camera gives or takes nothing any more.
        """
        now_s = self._clock.now_s()
        self._counted_s = now_s
        self._alive_s = dict.fromkeys(self._alive_s, now_s)
        self._turned_s = now_s
        self.worker.start()
        try:
            while not stop.wait(max(0.0, self.turn() - self._clock.now_s())):
                pass
        finally:
            self.worker.stop()
            self.worker.join(_END_S)

    def turn(self) -> float:
        """Send what is due; when to look again."""
        now_s = self._clock.now_s()
        if self._error is not None:
            raise self._error
        self._forgive_standstill(now_s)
        if not self._speaks:
            self._count_voice(now_s)
        self._check_devices(now_s)
        ready = self._compose_next()
        if ready is not None:
            frame, rgb = ready
            now_s = self._clock.now_s()
            due_s = self.playout.heard_at(frame.place)
            if due_s is not None and due_s <= now_s:
                self._frames.remove(frame)
                self._shown = rgb
                self._send(now_s)
                self._sent += 1
                return now_s
            if due_s is not None and due_s <= now_s + _POLL_S:
                return due_s
        if now_s - self._sent_s >= _REPEAT_S:
            self._repeated += self._sent_s > 0
            self._send(now_s)
        return now_s + _POLL_S

    def _end(self, error: BaseException | None) -> None:
        self._error = error

    def _offer(self, frame: LiveFrame) -> None:
        self._frames.put(frame)
        due_s = self.playout.heard_at(frame.place)
        if due_s is not None:
            self.playout.note_frame(due_s - self._clock.now_s() - self._compose_s)

    def _compose_next(self) -> tuple[LiveFrame, npt.NDArray[np.uint8]] | None:
        """The next frame to send, put on the canvas ahead of its moment."""
        frame = self._frames.first(self.playout.place_at(self._clock.now_s()))
        if frame is None:
            return None
        if self._composed is None or self._composed[0] is not frame:
            began_s = self._clock.now_s()
            self._composed = (frame, self._canvas.compose(frame.rgb))
            self._compose_s += (self._clock.now_s() - began_s - self._compose_s) * _COMPOSE_SMOOTHING
        return self._composed

    def _send(self, now_s: float) -> None:
        self._camera.send(self._shown)
        self._sent_s = now_s

    def _count_voice(self, now_s: float) -> None:
        """Let the voice pass as a speaker would, in blocks."""
        block = self.playout.rate_hz * BLOCK_MS // 1000
        while self._counted_s + BLOCK_MS / 1e3 <= now_s:
            self.playout.pull(block, self._counted_s)
            self._counted_s += BLOCK_MS / 1e3
            self._alive_s["audio output"] = now_s

    def _forgive_standstill(self, now_s: float) -> None:
        """While the program itself stood still (stopped, or its machine asleep) no device could give anything."""
        if now_s - self._turned_s > _STOOD_STILL_S:
            self._alive_s = dict.fromkeys(self._alive_s, now_s)
            if self._audio_s is not None:
                self._audio_s = now_s
        self._turned_s = now_s

    def _check_devices(self, now_s: float) -> None:
        for name, stream in self._streams.items():
            if not stream.active:
                raise DeviceLost(_gone(name))
        for name, alive_s in self._alive_s.items():
            if now_s - alive_s > _LOST_AFTER_S:
                raise DeviceLost(_gone(name))
        if self._audio_s is not None and now_s - self._audio_s > _MUTED_AFTER_S:
            self._audio_s = None
            _log.warning(
                "the microphone gives nothing but zeros: it is muted, or it is not the one that you speak into "
                "('gohd camera --list' shows the others)"
            )


def _gone(name: str) -> str:
    return f"the {name} went silent: was it unplugged? Connect it and start again"
