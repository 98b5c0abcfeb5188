"""A face that says what an agent hands it: audio in at any pace, moments of image and audio out in real time.

    push, mark --> voice line --one step each 40 ms of the clock--> steps on their way --> Moment(image, audio, marks)
                                        |                                                    ^
                                        `--> one thread: engine session --> images --------'

A step of audio leaves a fixed number of steps after it was taken, with the image that was made from it: one
timeline. Whoever takes moments too slowly makes the line wait, so audio is never lost or cut.

Drop policies. Of images: the newest that is due leaves, those it overtakes are dropped; one that is not ready is left
out (``rgb`` None: keep showing the last). Of audio for the engine: past 12 waiting steps a step is left out of the
images, never of what is heard. An interrupt drops all of both: everything carries a generation, and what is older
than the newest never leaves; the silence that takes its place is fed to the engine at once, and its first image
leaves as soon as it is made.

Images that keep coming too late lengthen the way by a step, in the next pause, up to eight steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import numpy.typing as npt

from clients.agents.speech_queue import STEP_SAMPLES, VOICE_RATE_HZ, Said, Samples, SpeechQueue
from engine.errors import AudioInvalid, SessionClosed
from server.live.clock import Clock, MonotonicClock
from server.live.worker import EngineSession

_log = logging.getLogger(__name__)

STEP_S = STEP_SAMPLES / VOICE_RATE_HZ

_ENGINE_SAMPLES_PER_STEP = 640
_RENDER_ALLOWANCE_S = 0.035
_MAX_WAITING_STEPS = 12
_MAX_IMAGES = 16
_FORGIVEN_S = 0.1
_MAX_DELAY_STEPS = 8
_WINDOW_MOMENTS, _TOLERATED_MISSES = 125, 4
_CLOSE_TIMEOUT_S = 2.0


class SpeakingSession(EngineSession, Protocol):
    """What a speaker needs of ``engine.Session``."""

    @property
    def frame_size(self) -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AvatarChunk:
    """40 ms of the face.

    Attributes:
        rgb: uint8 (H, W, 3), or None to keep showing the last one.
        audio: int16 (n,) at 48 kHz mono, n at most 1920; None while nothing is said.
        marks: what was marked behind this audio, in order.
        generation: counts interrupts. step: counts moments since the start.
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
    """Owns ``session``. Everything but the engine happens on the event loop, and no call of it blocks.

    Iterate over it, once, for its moments; it ends with ``close``.
    """

    def __init__(self, session: SpeakingSession, clock: Clock | None = None) -> None:
        self._session = session
        self._clock = clock or MonotonicClock()
        self._line = SpeechQueue()
        self._resampler = _Resampler()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-agent")
        self._jobs: deque[Future[None]] = deque()
        self._delay_steps = -int(-(session.lookahead_ms / 1e3 + _RENDER_ALLOWANCE_S) // STEP_S)
        self._leaving: deque[_Leaving] = deque()
        self._images: deque[tuple[int, npt.NDArray[np.uint8]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_step = 0
        self._due_s: float | None = None
        self._misses = 0
        self._fresh = asyncio.Event()
        self._fresh.set()
        self._error: BaseException | None = None
        self._closed = False
        self.generation = 0
        self.images_overtaken = 0
        self.images_missing = 0
        self.steps_unseen = 0
        # Of the engine's thread alone:
        self._engine_step = -1
        self._offset_samples = 0

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self._session.frame_size

    @property
    def delay_ms(self) -> float:
        """From the moment a step of audio is taken to the moment it leaves."""
        return 1e3 * STEP_S * self._delay_steps

    @property
    def pushed_ms(self) -> float:
        """Length of everything that was pushed since the start."""
        return 1e3 * self._line.pushed / VOICE_RATE_HZ

    @property
    def position_ms(self) -> float:
        """How much of ``pushed_ms`` has left, or was dropped."""
        on_the_way = sum(len(each.said.samples) for each in self._leaving if each.said.samples is not None)
        return 1e3 * (self._line.taken - on_the_way) / VOICE_RATE_HZ

    @property
    def dropped_ms(self) -> float:
        """Sound that did not fit into the ten minutes that may wait."""
        return 1e3 * self._line.dropped / VOICE_RATE_HZ

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be said and nothing is on its way."""
        return self._line.empty and all(each.said is _SILENT for each in self._leaving)

    def push(self, samples: Samples, rate_hz: int) -> None:
        """Say this after what was pushed before: int16 (n,) or (n, channels), any rate from 8000 to 192000.

        Raises:
            AudioInvalid: the audio cannot be used. SessionClosed.
        """
        self._check_open()
        self._line.push(self._resampler.push(samples, rate_hz))

    def mark(self, item: object, *, ends: bool = True) -> None:
        """Hand ``item`` out when what was pushed so far has been said. ``ends``: no more of that speech will come."""
        self._check_open()
        if ends:
            self._line.push(self._resampler.flush())
        self._line.mark(item, ends=ends)

    def interrupt(self) -> list[object]:
        """Be silent from the next moment on; the mouth eases to rest. Gives the marks that were dropped, in order."""
        self._check_open()
        self.generation += 1
        dropped = [mark for each in self._leaving for mark in each.said.marks]
        dropped += self._line.clear()
        self._resampler = _Resampler()
        self._images.clear()
        self._fresh.clear()
        steps = [each.step for each in self._leaving]
        self._leaving = deque(_Leaving(step, _SILENT) for step in steps)
        self._submit(self._begin_generation, self.generation, steps)
        return dropped

    def command(self, call: Callable[[SpeakingSession], object]) -> None:
        """Run ``call(session)`` (gaze, intensity, pose) on the engine's thread before its next step."""
        self._check_open()
        self._submit(self._obey, call)

    async def moment(self) -> AvatarChunk:
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
        if self._next_step % _WINDOW_MOMENTS == 0:
            self._misses = 0
        elif self._misses > _TOLERATED_MISSES and self.quiet and self._delay_steps < _MAX_DELAY_STEPS:
            self._delay_steps += 1
            self._misses = 0
        while len(self._leaving) < self._delay_steps:
            self._enter(_SILENT)
        said = self._line.take()
        self._enter(said if said.samples is not None or said.marks else _SILENT)
        leaving = self._leaving.popleft()
        return AvatarChunk(
            rgb=self._image(leaving.step),
            audio=leaving.said.samples,
            marks=leaving.said.marks,
            generation=self.generation,
            step=leaving.step,
        )

    async def __aiter__(self) -> AsyncIterator[AvatarChunk]:
        while not self._closed:
            try:
                moment = await self.moment()
            except SessionClosed:
                return
            yield moment

    async def settled(self) -> None:
        """Return when the engine has done all that it was given."""
        while self._jobs:
            await asyncio.gather(*map(asyncio.wrap_future, self._jobs), return_exceptions=True)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """End the session and its thread. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        for job in self._jobs:
            job.cancel()
        ending = self._thread.submit(self._session.close)
        self._thread.shutdown(wait=False)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(ending), _CLOSE_TIMEOUT_S)

    def _enter(self, said: Said) -> None:
        step = self._next_step
        self._next_step += 1
        self._leaving.append(_Leaving(step, said))
        while self._jobs and self._jobs[0].done():
            self._jobs.popleft()
        if len(self._jobs) >= _MAX_WAITING_STEPS:
            self.steps_unseen += 1
            return
        block = np.zeros(STEP_SAMPLES, np.int16)
        if said.samples is not None:
            block[: len(said.samples)] = said.samples
        self._submit(self._hear, step, block, self.generation)

    def _image(self, step: int) -> npt.NDArray[np.uint8] | None:
        rgb = None
        while self._images and self._images[0][0] <= step:
            self.images_overtaken += rgb is not None
            rgb = self._images.popleft()[1]
        if rgb is None:
            self.images_missing += 1
            self._misses += self._fresh.is_set()
        return rgb

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

    def _submit(self, call: Callable[..., None], *arguments: Any) -> None:
        self._loop = asyncio.get_running_loop()
        job = self._thread.submit(call, *arguments)
        self._jobs.append(job)
        job.add_done_callback(self._on_loop(self._job_done))

    def _job_done(self, job: Future[None]) -> None:
        with contextlib.suppress(ValueError):
            self._jobs.remove(job)
        if not job.cancelled() and (error := job.exception()) is not None and self._error is None:
            _log.error("the engine failed", exc_info=error)
            self._error = error

    def _image_made(self, made: tuple[int, int, npt.NDArray[np.uint8]]) -> None:
        generation, step, rgb = made
        if generation != self.generation:
            return
        self._fresh.set()
        self._images.append((step, rgb))
        if len(self._images) > _MAX_IMAGES:
            self._images.popleft()
            self.images_overtaken += 1

    def _on_loop(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        loop = self._loop
        assert loop is not None

        def tell(value: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(call, value)

        return tell

    def _hear(self, step: int, block: Samples, generation: int) -> None:
        if generation != self.generation:
            return
        if step != self._engine_step:
            self._offset_samples = step * _ENGINE_SAMPLES_PER_STEP - self._session.next_pts_samples
        self._engine_step = step + 1
        tell = self._on_loop(self._image_made)
        for frame in self._session.push_pcm(block, VOICE_RATE_HZ):
            shown = round((frame.pts_samples + self._offset_samples) / _ENGINE_SAMPLES_PER_STEP)
            tell((generation, shown, frame.rgb))

    def _begin_generation(self, generation: int, silent_steps: list[int]) -> None:
        if generation != self.generation:
            return
        self._session.interrupt()
        self._engine_step = -1
        for step in silent_steps:
            self._hear(step, np.zeros(STEP_SAMPLES, np.int16), generation)

    def _obey(self, call: Callable[[SpeakingSession], object]) -> None:
        call(self._session)


async def load_speaker(
    portrait: str | Path, *, weights: str = "default", seed: int = 0, frame: str = "crop"
) -> Speaker:
    """Load the engine and a portrait on a thread, and open a speaker on it.

    Raises:
        As ``engine.load_engine``, ``Engine.enroll`` and ``Engine.open_session``.
    """

    def load() -> SpeakingSession:
        from engine import load_engine
        from server.live.capacity import cores

        engine = load_engine(weights=weights, live_cores=cores())
        return engine.open_session(engine.enroll(portrait), seed=seed, frame=frame)

    return Speaker(await asyncio.to_thread(load))


class _Resampler:
    """Sound of any rate and number of channels becomes 48 kHz mono."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._rate_hz = 0

    def push(self, samples: Samples, rate_hz: int) -> Samples:
        if samples.dtype != np.int16 or samples.ndim not in (1, 2) or not 8_000 <= rate_hz <= 192_000:
            raise AudioInvalid(
                f"sound must be int16, (n,) or (n, channels), at 8000 to 192000 Hz; "
                f"not {samples.dtype} {samples.shape} at {rate_hz} Hz"
            )
        if samples.ndim == 2:
            samples = np.rint(samples.mean(axis=1)).astype(np.int16) if samples.shape[1] else samples[:, 0]
        if len(samples) == 0:
            return samples
        before = self.flush() if rate_hz != self._rate_hz else np.zeros(0, np.int16)
        if rate_hz == VOICE_RATE_HZ:
            self._rate_hz = rate_hz
            return np.concatenate([before, samples])
        if self._resampler is None:
            self._rate_hz = rate_hz
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=VOICE_RATE_HZ)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        return np.concatenate([before, *self._resampled(frame)])

    def flush(self) -> Samples:
        """What is still held; the next push begins anew."""
        if self._resampler is None:
            return np.zeros(0, np.int16)
        held = [np.zeros(0, np.int16), *self._resampled(None)]
        self._resampler = None
        self._rate_hz = 0
        return np.concatenate(held)

    def _resampled(self, frame: av.AudioFrame | None) -> list[Samples]:
        assert self._resampler is not None
        return [each.to_ndarray()[0].astype(np.int16) for each in self._resampler.resample(frame)]
