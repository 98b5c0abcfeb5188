"""How many sessions this machine can serve, from the measured cost of a frame.

    one session   25 frames a second, each  render + encode  on one core
    capacity      cores * share / that

Where sessions share a device, a core only listens, finishes and encodes, and the device renders batches: then the
measured times of batches bound the sessions, too (`server.live.batching.sessions_that_fit`).

Measured once at start; and again from the sessions that run, whose frames cost what they cost under the real load: that
counts as soon as there is one. So does all that the process spends beside them, on codecs, network and the event loop
(`CpuPerFrame`), which no measurement at start can know: for one session of the default face on a Xeon 30 to 36 ms a
frame, where engine and encoder alone take 20. The first session is always let in: it may run late, but it runs.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.batch.renderer import BUCKETS
from engine.errors import CommandInvalid
from server.live.batching import BatchTimes, sessions_that_fit
from server.live.engine_session import EngineSession, Renderer

if TYPE_CHECKING:
    from engine.batch.job import FrameJob
from server.live.block import BLOCK_SAMPLES, MEDIA_RATE_HZ

FRAME_MS = 40.0

# Threads of one process wait for the interpreter and share what is below them: with two live sessions on two hardware
# threads a frame took 41 ms of CPU where it takes 31 alone. A fifth stays free for what comes in bursts.
_CORE_SHARE = 0.8 * 31 / 41
_DEVICE_SHARE = 0.8
_BATCH_WARM_UPS = 3
_BATCHES = 6
_HOP_FRAMES = 3
_WINDOW_FRAMES, _WINDOW_CPU_S = 50, 0.2
_WARM_UP_BLOCKS = 60
_WARM_UP_PASSES = 2
_LIVE_SIZES = (512, 384, 256)
# What the network, the event loop and a browser on the same machine take beside a frame.
_SPARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCost:
    """Milliseconds of one core that one frame of one session takes; ``device`` is what a shared device takes beside."""

    render_ms: float
    encode_ms: float
    device: BatchTimes | None = None

    @property
    def total_ms(self) -> float:
        return self.render_ms + self.encode_ms

    @property
    def slowest_ms(self) -> float:
        """Of a frame alone, what keeps the core or the device longest."""
        return self.total_ms if self.device is None else max(self.total_ms, 1e3 * self.device.of(1))


class CpuPerFrame:
    """Milliseconds of CPU that the whole process spends for a frame.

    ``cpu_s`` gives the seconds that it has spent so far.
    """

    def __init__(self, cpu_s: Callable[[], float] = time.process_time) -> None:
        self._cpu_s = cpu_s
        self._before: tuple[float, int] | None = None
        self.milliseconds = 0.0

    def note(self, frames: int) -> None:
        """So many frames were made so far, by all sessions; what was measured lasts until the next fifty."""
        cpu_s = self._cpu_s()
        if self._before is None:
            self._before = cpu_s, frames
        spent_s, made = cpu_s - self._before[0], frames - self._before[1]
        if made >= _WINDOW_FRAMES and spent_s > _WINDOW_CPU_S:
            self.milliseconds = 1e3 * spent_s / made
            self._before = cpu_s, frames

    def forget(self) -> None:
        """No session runs any more: what the process spends from here on is not counted."""
        self._before = None


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def capacity(cost: FrameCost, core_count: int, limit: int | None = None) -> int:
    """Sessions that fit; at least one, at most ``limit``."""
    fits = int(_CORE_SHARE * core_count * FRAME_MS / max(cost.total_ms, 1e-3))
    if cost.device is not None:
        fits = min(fits, sessions_that_fit(cost.device, _DEVICE_SHARE))
    return max(1, fits if limit is None else min(fits, limit))


def live_sizes(offered: tuple[int, ...], wanted: int | None) -> tuple[int, ...]:
    """Sides of the head in pixels to try for a live picture, the largest first: ``wanted`` alone, if it is not None.

    At least one of ``offered``: weights that draw one size alone draw that.

    Raises:
        CommandInvalid: ``wanted`` is none of ``offered``.
    """
    if wanted is None:
        return tuple(size for size in _LIVE_SIZES if size in offered) or offered[-1:]
    if wanted not in offered:
        raise CommandInvalid(f"these weights draw heads of {listed(offered)} px, not of {wanted}")
    return (wanted,)


def listed(sizes: Iterable[int]) -> str:
    """Numbers as a sentence has them: 256, 384 or 512."""
    *most, last = map(str, sizes)
    return f"{', '.join(most)} or {last}" if most else last


def sustained(frame_ms: float) -> bool:
    """Whether frames that take so long of a core can be live, with 30 % to spare."""
    return frame_ms * (1 + _SPARE) <= FRAME_MS


def measure_frames(
    open_session: Callable[[], EngineSession], now_s: Callable[[], float] = time.perf_counter
) -> tuple[float, list[npt.NDArray[np.uint8]]]:
    """Render frames for nobody, so that the first visitor's come as fast as all others.

    Returns:
        milliseconds that a frame takes, and frames. The better of two passes counts: what else a machine does at its
        start would be taken for the engine's.
    """
    passes = [_measure_pass(open_session(), now_s) for _ in range(_WARM_UP_PASSES)]
    return min(passes, key=lambda one: one[0])


def _measure_pass(session: EngineSession, now_s: Callable[[], float]) -> tuple[float, list[npt.NDArray[np.uint8]]]:
    frames: list[npt.NDArray[np.uint8]] = []
    began_s, counted_from = now_s(), 0
    for block in range(_WARM_UP_BLOCKS):
        if block == _WARM_UP_BLOCKS // 4:
            began_s, counted_from = now_s(), len(frames)
        for job in session.listen(np.zeros(BLOCK_SAMPLES, np.int16), MEDIA_RATE_HZ):
            session.render(job)
            frames.append(session.postprocess(job).rgb)
    elapsed_ms = 1e3 * (now_s() - began_s)
    session.close()
    return elapsed_ms / max(1, len(frames) - counted_from), frames


def measure_batches(
    sessions: Sequence[EngineSession],
    renderer: Renderer,
    buckets: tuple[int, ...] = BUCKETS,
    now_s: Callable[[], float] = time.perf_counter,
) -> tuple[BatchTimes, float, list[npt.NDArray[np.uint8]]]:
    """Let ``sessions`` hear silence and ``renderer`` render their frames in batches of every size.

    After it every size is ready for use. Batches of fewer than all sessions take turns, so that all go on evenly.

    Returns:
        the times of batches (the mean over whole hops of poses), milliseconds of a core for listening and finishing of
        a frame, and finished frames.
    """
    renderer.prepare()
    silence = np.zeros(BLOCK_SAMPLES, np.int16)
    waiting: list[deque[FrameJob]] = [deque() for _ in sessions]
    seconds: dict[int, float] = {}
    frames: list[npt.NDArray[np.uint8]] = []
    core_s: list[float] = []

    def batch(chosen: list[int]) -> float:
        began_s = now_s()
        for number in chosen:
            while not waiting[number]:
                waiting[number].extend(sessions[number].listen(silence, MEDIA_RATE_HZ))
        listened_s = now_s()
        jobs = [waiting[number].popleft() for number in chosen]
        renderer.render(jobs)
        rendered_s = now_s()
        frames[:] = [sessions[number].postprocess(job).rgb for number, job in zip(chosen, jobs, strict=True)]
        core_s.append((listened_s - began_s + now_s() - rendered_s) / len(chosen))
        return rendered_s - listened_s

    # Their hops of poses begin at different frames, as those of real sessions do.
    for number in range(len(sessions)):
        for _ in range(number % _HOP_FRAMES):
            batch([number])
    for size in buckets:
        turns = len(sessions) // size
        taken = [
            batch([(turn * size + each) % len(sessions) for each in range(size)])
            for turn in range((_BATCH_WARM_UPS + _BATCHES) * turns)
        ]
        seconds[size] = float(np.mean(taken[_BATCH_WARM_UPS * turns :]))
    return BatchTimes(seconds), 1e3 * float(np.median(core_s)), frames
