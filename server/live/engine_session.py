"""What the live runtime needs of the engine, and nothing more: `engine.Session` and `BatchRenderer` have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from engine.batch.job import FrameJob
    from engine.batch.session_row import SessionRow

Samples = npt.NDArray[np.int16]


class EngineFrame(Protocol):
    """A finished frame: uint8 (H, W, 3), labelled and watermarked."""

    @property
    def rgb(self) -> npt.NDArray[np.uint8]: ...


class EngineSession(Protocol):
    """One voice driving one avatar, used by one thread at a time; ``engine.session`` describes the members.

    ``listen`` gives jobs; each is rendered, here or by a `Renderer`, and then finished here.
    """

    @property
    def lookahead_ms(self) -> float: ...
    @property
    def frame_size(self) -> tuple[int, int]: ...
    @property
    def next_pts_samples(self) -> int: ...
    @property
    def row(self) -> SessionRow: ...
    def listen(self, chunk: Samples, sample_rate_hz: int) -> Sequence[FrameJob]: ...
    def render(self, job: FrameJob) -> None: ...
    def postprocess(self, job: FrameJob) -> EngineFrame: ...
    def set_gaze(self, pitch_rad: float, yaw_rad: float) -> None: ...
    def clear_gaze(self) -> None: ...
    def set_intensity(self, intensity: float) -> None: ...
    def set_pose(self, moving: bool) -> None: ...
    def interrupt(self, generation: int) -> int: ...
    def close(self) -> None: ...


Command = Callable[[EngineSession], object]
"""Sets something (gaze, intensity, pose) on the session, on its engine's thread."""


class Renderer(Protocol):
    """Renders the frames of many sessions, one job of each at a time."""

    def prepare(self) -> None: ...
    def render(self, jobs: Sequence[FrameJob]) -> None: ...
    def leave(self, row: SessionRow) -> None: ...
