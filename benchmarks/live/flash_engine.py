"""An engine whose image is white exactly where its audio is loud, behind the interface that the server knows.

Like the real one it needs 80 ms of audio after a frame, and a frame shows the 40 ms that begin at its time stamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

_LOOKAHEAD_SAMPLES = 2 * SAMPLES_PER_FRAME
_LOUD = 0.3


@dataclass(frozen=True, slots=True)
class _Frame:
    rgb: npt.NDArray[np.uint8]
    pts_samples: int


class FlashSession:
    lookahead_ms = 1e3 * _LOOKAHEAD_SAMPLES / SAMPLE_RATE_HZ
    frame_size = (256, 256)

    def __init__(self) -> None:
        self._loud = np.zeros(0, bool)
        self._start = 0
        self._next_frame = 0

    @property
    def next_pts_samples(self) -> int:
        return self._start + len(self._loud)

    def push_pcm(self, chunk: npt.NDArray[np.int16], sample_rate_hz: int) -> list[_Frame]:
        step = sample_rate_hz // SAMPLE_RATE_HZ
        loud = np.abs(chunk.astype(np.int32)).reshape(-1, step).max(axis=1) > _LOUD * 32767
        self._loud = np.concatenate([self._loud, loud])
        frames = []
        while (self._next_frame + 1) * SAMPLES_PER_FRAME + _LOOKAHEAD_SAMPLES <= self.next_pts_samples:
            begin = self._next_frame * SAMPLES_PER_FRAME - self._start
            flashes = self._loud[max(0, begin) : max(0, begin + SAMPLES_PER_FRAME)].any()
            rgb = np.full((256, 256, 3), 255 if flashes else 90, np.uint8)
            frames.append(_Frame(rgb, self._next_frame * SAMPLES_PER_FRAME))
            self._next_frame += 1
        return frames

    def set_gaze(self, pitch_rad: float, yaw_rad: float) -> None: ...
    def clear_gaze(self) -> None: ...
    def set_intensity(self, intensity: float) -> None: ...
    def set_pose(self, moving: bool) -> None: ...

    def interrupt(self) -> None:
        self._start = self._next_frame * SAMPLES_PER_FRAME
        self._loud = np.zeros(0, bool)

    def close(self) -> None: ...


class FlashEngine:
    """Every image shows a face; sessions are made one by one."""

    batches = False

    def enroll(self, image: Any) -> Any:
        return object()

    def open_session(self, avatar: Any, *, seed: int = 0, renderer: Any = None) -> FlashSession:
        return FlashSession()

    def open_renderer(self, capacity: int) -> Any:
        raise NotImplementedError("an engine that does not batch has no renderer")
