"""A stand-in engine for the server's own tests: frames that show what was heard.

A frame is white when its 40 ms hold a loud sample, else grey; it needs 80 ms of audio after it, like the real one.
Every image shows a face but a black one.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import DeviceMemoryExceeded, NoFaceFound

SAMPLES_PER_FRAME = 640
LOOKAHEAD_SAMPLES = 1280
LOUD = 0.4


@dataclass(frozen=True, slots=True)
class FakeFrame:
    rgb: npt.NDArray[np.uint8]
    pts_samples: int
    loud: bool


@dataclass(slots=True, eq=False)
class FakeJob:
    """What the live runtime reads and writes of a `FrameJob`; types say ``Any`` where the real class is asked for."""

    row: Any
    generation: int
    pts_samples: int
    frame: FakeFrame
    shown: bool = True
    place: int = 0
    due_s: float = 0.0
    came_s: float = 0.0
    device_s: float = 0.0
    error: Exception | None = None


@dataclass(frozen=True, eq=False)
class FakeAvatar:
    """What the server reads of an avatar; each is one of its own."""

    size: int = 256
    warnings: tuple[str, ...] = ("the eyes are shut",)


class FakeSession:
    lookahead_ms = 80.0

    def __init__(self, avatar: Any, render_s: float) -> None:
        self.avatar = avatar
        side = avatar.size if isinstance(avatar, FakeAvatar) else 256
        self.frame_size = (side, side)
        self.render_s = render_s
        self.wave = np.zeros(0, np.float32)
        self.start = 0
        self.next_frame = 0
        self.interrupts = 0
        self.generation = 0
        self.gaze: tuple[float, float] | None = None
        self.intensity = 1.0
        self.pose_moves = True
        self.closed = False
        self.fail = False
        self.loud_samples = 0
        self.threads: set[int] = set()

    @property
    def next_pts_samples(self) -> int:
        return self.start + len(self.wave)

    def push_pcm(self, chunk: npt.NDArray[np.int16], sample_rate_hz: int) -> list[FakeFrame]:
        jobs = self.listen(chunk, sample_rate_hz)
        for job in jobs:
            self.render(job)
        return [self.postprocess(job) for job in jobs]

    def listen(self, chunk: npt.NDArray[np.int16], sample_rate_hz: int) -> list[Any]:
        self.threads.add(threading.get_ident())
        if self.fail:
            raise RuntimeError("the fake engine was told to fail")
        assert sample_rate_hz in (16_000, 48_000)
        new = chunk.reshape(-1, sample_rate_hz // 16_000).max(axis=1).astype(np.float32) / 32768
        self.loud_samples += len(new) if np.abs(new).max(initial=0) > LOUD else 0
        self.wave = np.concatenate([self.wave, new])
        jobs = []
        while (self.next_frame + 1) * SAMPLES_PER_FRAME + LOOKAHEAD_SAMPLES <= self.next_pts_samples:
            begin = self.next_frame * SAMPLES_PER_FRAME - self.start
            frame = self._draw(self.wave[max(begin, 0) : begin + SAMPLES_PER_FRAME])
            jobs.append(FakeJob(self.row, self.generation, frame.pts_samples, frame))
        return jobs

    def _draw(self, audio: npt.NDArray[np.float32]) -> FakeFrame:
        loud = bool(np.abs(audio).max(initial=0) > LOUD)
        rgb = np.full((*self.frame_size, 3), 255 if loud else 90, np.uint8)
        rgb[:, : 4 * (self.next_frame % 64)] //= 2
        frame = FakeFrame(rgb, self.next_frame * SAMPLES_PER_FRAME, loud)
        self.next_frame += 1
        return frame

    def render(self, job: Any) -> None:
        if self.render_s:
            time.sleep(self.render_s)

    def set_gaze(self, pitch_rad: float, yaw_rad: float) -> None:
        self.gaze = (pitch_rad, yaw_rad)

    def clear_gaze(self) -> None:
        self.gaze = None

    def set_intensity(self, intensity: float) -> None:
        self.intensity = intensity

    def set_pose(self, moving: bool) -> None:
        self.pose_moves = moving

    @property
    def row(self) -> Any:
        return id(self)

    def postprocess(self, job: Any) -> FakeFrame:
        if job.error is not None:
            raise job.error
        frame: FakeFrame = job.frame
        return frame

    def interrupt(self, generation: int | None = None) -> int:
        self.interrupts += 1
        self.generation = self.generation + 1 if generation is None else generation
        self.start = self.next_frame * SAMPLES_PER_FRAME
        self.wave = np.zeros(0, np.float32)
        return self.generation

    def close(self) -> None:
        self.closed = True


class FakeRenderer:
    """A device that sessions share: a batch takes ``batch_s``; who is on ``full_for`` gets no memory."""

    def __init__(self, batch_s: float) -> None:
        self.batch_s = batch_s
        self.batches: list[int] = []
        self.left: list[Any] = []
        self.full_for: set[Any] = set()
        self.fail = False
        self.prepared = False

    def prepare(self) -> None:
        self.prepared = True

    def render(self, jobs: Sequence[Any]) -> None:
        assert self.prepared, "the first visitors must not wait for it"
        time.sleep(self.batch_s)
        if self.fail:
            raise RuntimeError("the fake device was told to fail")
        self.batches.append(len(jobs))
        for job in jobs:
            if job.row in self.full_for:
                job.error = DeviceMemoryExceeded("the fake device has no memory left")

    def leave(self, row: Any) -> None:
        self.left.append(row)


class FakeEngine:
    """``render_s`` is slept for each frame; ``load_s`` before the engine is there.

    With ``batch_s`` sessions share a device, whose ``renderer`` is there once the engine is loaded. It draws frames of
    ``sizes``.
    """

    def __init__(
        self,
        render_s: float = 0.0,
        load_s: float = 0.0,
        batch_s: float | None = None,
        sizes: tuple[int, ...] = (256,),
    ) -> None:
        time.sleep(load_s)
        self.render_s = render_s
        self.batches = batch_s is not None
        self.renderer = FakeRenderer(batch_s or 0.0)
        self.sessions: list[FakeSession] = []
        self.sizes = sizes
        self.runs_on = "a fake"
        self.asked_sizes: list[int] = []

    def open_renderer(self, capacity: int) -> FakeRenderer:
        return self.renderer

    def enroll(self, image: Any, *, size: int = 256) -> Any:
        self.asked_sizes.append(size)
        if isinstance(image, np.ndarray) and not image.any():
            raise NoFaceFound("no face was found in the picture")
        return FakeAvatar(size)

    def shrink(self, avatar: Any, size: int) -> Any:
        return avatar if size >= avatar.size else FakeAvatar(size)

    def open_session(self, avatar: Any, *, seed: int = 0, renderer: Any = None) -> FakeSession:
        assert renderer is (self.renderer if self.batches else None)
        session = FakeSession(avatar, self.render_s)
        self.sessions.append(session)
        return session
