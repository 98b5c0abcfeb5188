"""An avatar that says what an agent gives it: audio in at any pace, chunks of video and audio out in real time.

    push, mark --> speech queue --one step each 40 ms of the clock--> steps on their way --> AvatarChunk
                                        |                                                  ^
                                        `--> EngineWorker (thread): engine session --frames'

A step of audio leaves a fixed number of steps after it was taken, with the frame that was made from it: one timeline.
A caller who takes chunks too slowly makes the queue wait, so audio is never lost or cut.

Drop policies. Of frames: the newest that is due leaves, those it overtakes are dropped; one that is not ready is left
out (``rgb`` None: keep showing the last). Of audio for the engine: past 12 waiting steps a step is left out of the
frames, never of what is heard. An interrupt drops all of both: what carries an older generation never leaves; the
silence that takes its place is fed to the engine at once, and its first frame leaves as soon as it is made.

Frames that keep coming too late lengthen the way by a step, in the next pause, up to eight steps.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clients.agents.speech_queue import STEP_SAMPLES, VOICE_RATE_HZ, Said, Samples, SpeechQueue
from engine.errors import SessionClosed
from server.live.audio_source import VoiceResampler
from server.live.block import Block
from server.live.clock import Clock, MonotonicClock
from server.live.engine_session import Command, EngineSession
from server.live.frame import LiveFrame
from server.live.frame_queue import FrameQueue
from server.live.worker import EngineWorker, call_on_loop

STEP_S = STEP_SAMPLES / VOICE_RATE_HZ

# What a frame may take at first; the way grows where it takes longer.
_RENDER_ALLOWANCE_S = 0.035
_MAX_WAITING_STEPS = 12
_MAX_FRAMES = 16
_FORGIVEN_S = 0.1
_MAX_DELAY_STEPS = 8
# More than 4 frames of 5 s that were not ready are no accident any more.
_WINDOW_CHUNKS, _TOLERATED_MISSES = 125, 4
_CLOSE_TIMEOUT_S = 2.0
_SILENT_STEP: Samples = np.zeros(STEP_SAMPLES, np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarChunk:
    """40 ms of the avatar.

    Attributes:
        rgb: uint8 (H, W, 3), or None to keep showing the last one.
        audio: int16 (n,) at 48 kHz mono, n at most 1920; None while nothing is said.
        marks: what was marked behind this audio, in order.
        generation: number of interrupts before it. step: counts chunks since the start.
    """

    rgb: npt.NDArray[np.uint8] | None
    audio: Samples | None
    marks: tuple[object, ...]
    generation: int
    step: int


@dataclass(frozen=True, slots=True)
class _Leaving:
    step: int
    said: Said


_SILENT = Said(samples=None, marks=())


class Speaker:
    """Owns ``session``. Made and used on an event loop; only the engine runs elsewhere, and no call of it blocks.

    Iterate over it, once, for its chunks; it ends with ``close``.

    Attributes:
        generation: number of interrupts so far. frame_size: height and width of the frames.
        frames_missing: chunks whose frame was not ready.
    """

    def __init__(self, session: EngineSession, clock: Clock | None = None) -> None:
        self._clock = clock or MonotonicClock()
        self._queue = SpeechQueue()
        self._resampler = VoiceResampler()
        self._delay_steps = -int(-(session.lookahead_ms / 1e3 + _RENDER_ALLOWANCE_S) // STEP_S)
        self._leaving: deque[tuple[int, Said]] = deque()
        self._frames = FrameQueue(_MAX_FRAMES)
        self._next_step = 0
        self._due_s: float | None = None
        self._misses = 0
        self._fresh = asyncio.Event()
        self._fresh.set()
        self._ended = asyncio.Event()
        self._error: BaseException | None = None
        self._closed = False
        self.generation = 0
        self.frames_missing = 0
        self.frame_size = session.frame_size
        loop = asyncio.get_running_loop()
        self.worker = EngineWorker(
            session,
            self._clock,
            on_frame=call_on_loop(loop, self._frame_made),
            on_ended=call_on_loop(loop, self._worker_ended),
            name="agent",
            rate_hz=VOICE_RATE_HZ,
            max_waiting_ms=1e3 * STEP_S * _MAX_WAITING_STEPS,
        )
        self.worker.start()

    @property
    def delay_ms(self) -> float:
        """From the moment a step of audio is taken to the moment it leaves."""
        return 1e3 * STEP_S * self._delay_steps

    @property
    def pushed_ms(self) -> float:
        """Length of everything that was pushed since the start."""
        return 1e3 * self._queue.pushed / VOICE_RATE_HZ

    @property
    def position_ms(self) -> float:
        """How much of ``pushed_ms`` has left, or was dropped."""
        on_the_way = sum(len(said.samples) for _, said in self._leaving if said.samples is not None)
        return 1e3 * (self._queue.taken - on_the_way) / VOICE_RATE_HZ

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be said and nothing is on its way."""
        return self._queue.empty and all(said is _SILENT for _, said in self._leaving)

    def push(self, samples: Samples, rate_hz: int) -> None:
        """Say this after what was pushed before: int16 (n,) or (n, channels), any rate from 8000 to 192000.

        Raises:
            AudioInvalid: the audio cannot be used. SessionClosed.
        """
        self._check_open()
        self._queue.push(self._resampler.push(samples, rate_hz))

    def mark(self, item: object, *, ends: bool = True) -> None:
        """Hand ``item`` out when what was pushed so far has been said. ``ends``: no more of that speech will come."""
        self._check_open()
        if ends:
            self._queue.push(self._resampler.flush())
        self._queue.mark(item, ends=ends)

    def interrupt(self) -> list[object]:
        """Be silent from the next chunk on; the mouth eases to rest. Gives the marks that were dropped, in order."""
        self._check_open()
        self.generation += 1
        dropped = [mark for _, said in self._leaving for mark in said.marks]
        dropped += self._queue.clear()
        self._resampler = VoiceResampler()
        self._frames.clear()
        self._fresh.clear()
        self._leaving = deque((step, _SILENT) for step, _ in self._leaving)
        self.worker.interrupt(self.generation, [self._block(step, _SILENT) for step, _ in self._leaving])
        return dropped

    def command(self, call: Command) -> None:
        """Run ``call(session)`` (gaze, intensity, pose) on the engine's thread before its next step."""
        self._check_open()
        self.worker.command(call)

    async def next_chunk(self) -> AvatarChunk:
        """The next 40 ms, when their time has come.

        Raises:
            SessionClosed: ``close`` was called. Or whatever ended the engine session.
        """
        if self._due_s is None:
            self._due_s = self._clock.now_s()
        await self._clock.sleep_until(self._due_s)
        if not self._fresh.is_set():
            await self._wait_for_fresh(self._due_s + STEP_S)
        self._check_open()
        now_s = self._clock.now_s()
        self._due_s = (now_s if now_s - self._due_s > _FORGIVEN_S else self._due_s) + STEP_S
        if self._next_step % _WINDOW_CHUNKS == 0:
            self._misses = 0
        elif self._misses > _TOLERATED_MISSES and self.quiet and self._delay_steps < _MAX_DELAY_STEPS:
            self._delay_steps += 1
            self._misses = 0
        while len(self._leaving) < self._delay_steps:
            self._enter(_SILENT)
        said = self._queue.take()
        self._enter(said if said.samples is not None or said.marks else _SILENT)
        step, said = self._leaving.popleft()
        return AvatarChunk(
            rgb=self._rgb(step), audio=said.samples, marks=said.marks, generation=self.generation, step=step
        )

    async def __aiter__(self) -> AsyncIterator[AvatarChunk]:
        while not self._closed:
            try:
                chunk = await self.next_chunk()
            except SessionClosed:
                return
            yield chunk

    async def close(self) -> None:
        """End the session and its thread. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self.worker.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _CLOSE_TIMEOUT_S)

    def _enter(self, said: Said) -> None:
        step = self._next_step
        self._next_step += 1
        self._leaving.append((step, said))
        self.worker.put([self._block(step, said)])

    def _block(self, step: int, said: Said) -> Block:
        samples = _SILENT_STEP
        if said.samples is not None:
            samples = np.pad(said.samples, (0, STEP_SAMPLES - len(said.samples)))
        return Block(step * STEP_SAMPLES, samples, self.generation, every=self._resampler.every)

    def _rgb(self, step: int) -> npt.NDArray[np.uint8] | None:
        # Half a step of grace: what the engine's resampler holds back moves frames by 2 ms after a gap.
        frame = self._frames.take(step * STEP_SAMPLES + STEP_SAMPLES // 2)
        if frame is None:
            self.frames_missing += 1
            self._misses += self._fresh.is_set()
            return None
        return frame.rgb

    async def _wait_for_fresh(self, until_s: float) -> None:
        fresh = asyncio.ensure_future(self._fresh.wait())
        late = asyncio.ensure_future(self._clock.sleep_until(until_s))
        try:
            await asyncio.wait({fresh, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            fresh.cancel()
            late.cancel()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise SessionClosed("this speaker was closed; open another")

    def _worker_ended(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()

    def _frame_made(self, frame: LiveFrame) -> None:
        if frame.generation == self.generation:
            self._fresh.set()
            self._frames.put(frame)


async def load_speaker(
    portrait: str | Path, *, weights: str = "default", seed: int = 0, frame: str = "crop"
) -> Speaker:
    """Load the engine and a portrait on a thread, and open a speaker on it.

    Raises:
        As ``engine.load_engine``, ``Engine.enroll`` and ``Engine.open_session``.
    """

    def load() -> EngineSession:
        from engine import load_engine
        from server.live.capacity import cores

        engine = load_engine(weights=weights, live_cores=cores())
        return engine.open_session(engine.enroll(portrait), seed=seed, frame=frame)

    return Speaker(await asyncio.to_thread(load))
