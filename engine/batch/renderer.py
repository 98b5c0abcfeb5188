"""The next frames of several sessions, made together: one batch of the motion networks, one of the animator.

    request of a --.  lips, eyes (all)  hops (who needs one)  mixer (each)     images (all that are shown)
    request of b ---> ---------------> --------------------> ----------> q_t -----------------------------> MadeFrame
    request of c --'        rows of `MotionBatch`                                label and mark: by the session

A session alone is a batch of one, so there is one way to a frame. Batches differ from it by what a matrix product of
another size rounds differently, and by nothing else.

Out of memory: the session that joined last is dropped, with what it had on the device, and the phase is run again for
the others, from the same numbers. A phase that fails otherwise is run again row by row, and ends whom it fails for.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from engine.animator.network.neural import NeuralAnimator
from engine.batch.motion_batch import MotionBatch
from engine.errors import CapacityExceeded, DeviceMemoryExceeded, SessionClosed
from engine.motion.descriptor_window import DescriptorWindow
from engine.motion.driver import MotionDriver, MotionInput, MotionNetworks
from engine.timebase import SAMPLES_PER_FRAME

if TYPE_CHECKING:
    from engine.animator.interface import Animator
    from engine.avatar import Avatar
    from engine.runtime.cuda_graph import Capture

BUCKETS = (1, 2, 4, 8, 16)
"""Numbers of rows that a device has a program for; a batch takes the next one up."""

log = logging.getLogger(__name__)

Probe = Callable[[str], None]
"""Called with the name of each stage as it ends; benchmarks read a clock in it."""

_F32 = npt.NDArray[np.float32]
_T = TypeVar("_T")


class SessionRow:
    """What making frames keeps of one session between them; belongs to the thread of its `BatchRenderer`."""

    def __init__(
        self,
        avatar: Avatar,
        driver: MotionDriver,
        window: DescriptorWindow,
        *,
        seed: int,
        generate_gaze: bool,
        finished: bool,
    ) -> None:
        """``finished``: images may come labelled and marked from an animator that does that."""
        self.avatar, self.driver, self.window = avatar, driver, window
        self.seed, self.generate_gaze, self.finished = seed, generate_gaze, finished
        self.speaking: deque[bool] = deque()
        self.generation = 0
        self.row: int | None = None
        self.number = 0
        self.left = False

    def begin(self, generation: int) -> None:
        """Forget what was made ahead, if ``generation`` is a new one."""
        if generation > self.generation:
            self.generation = generation
            self.window.drop_ahead()
            self.speaking.clear()
            self.driver.interrupt()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """One frame to be made. Requests of a session are made in order, all of them but those of an older generation.

    Attributes:
        index: number of the frame in the session.
        inputs: of the descriptors that it needs beside those that are there.
        intensity: lambda of section 4.3.
    """

    performer: SessionRow
    generation: int
    index: int
    inputs: tuple[MotionInput, ...]
    intensity: float

    @property
    def pts_samples(self) -> int:
        """Its time at 16 kHz."""
        return self.index * SAMPLES_PER_FRAME


@dataclass(frozen=True, slots=True)
class MadeFrame:
    """An image, uint8 (256, 256, 3), of ``request``; ``finished`` if it has its label and mark already."""

    request: FrameRequest
    rgb: npt.NDArray[np.uint8]
    descriptor: _F32
    speaking: bool
    finished: bool


@dataclass(slots=True)
class _Row:
    request: FrameRequest
    shown: bool
    expression: _F32 | None = None
    window: _F32 | None = None
    speaking: bool = False
    answer: MadeFrame | Exception | None = None

    @property
    def performer(self) -> SessionRow:
        return self.request.performer

    @property
    def lost(self) -> bool:
        return isinstance(self.answer, Exception)


class BatchRenderer:
    """Rows for ``capacity`` sessions on one device. Belongs to one thread."""

    def __init__(
        self,
        networks: MotionNetworks,
        animator: Animator,
        capacity: int = 1,
        *,
        captured: bool = False,
        capture: Capture | None = None,
        probe: Probe | None = None,
    ) -> None:
        """
        Args:
            captured: pad batches to `BUCKETS` and capture the motion networks' steps for each.
            capture: as `CapturedStep` takes it.
        """
        self._animator = animator
        self._probe = probe or (lambda stage: None)
        self._buckets = BUCKETS if captured else ()
        self._motion = MotionBatch(networks, capacity, buckets=self._buckets, capture=capture, probe=probe)
        self._numbers = itertools.count(1)

    @property
    def free_rows(self) -> int:
        """How many more sessions there is room for."""
        return self._motion.free

    def make(
        self, requests: Sequence[FrameRequest], shown: Sequence[bool] | None = None
    ) -> list[MadeFrame | Exception | None]:
        """Make a frame of each of some sessions, all different.

        Args:
            shown: False for frames that nobody will see: the motion goes on, and no image is made.

        Returns:
            for each request its frame; None if it is not shown; or the error that ends its session: `CapacityExceeded`
            where no row is free, `DeviceMemoryExceeded` where it had to be dropped, or what its frame failed with.
        """
        flags = [True] * len(requests) if shown is None else shown
        rows = [_Row(request, flag) for request, flag in zip(requests, flags, strict=True)]
        for row in rows:
            self._enter(row)
        for step in range(max((len(row.request.inputs) for row in rows), default=0)):
            self._move([row for row in rows if not row.lost and step < len(row.request.inputs)], step)
        for row in rows:
            if not row.lost:
                row.window = row.performer.window.take()
                row.speaking = row.performer.speaking.popleft()
        # Portraits in an order of their own: the same ones make the same batch, whose features are there already.
        shown_rows = [row for row in rows if row.shown and not row.lost]
        self._draw(sorted(shown_rows, key=lambda row: id(row.performer.avatar.prepared)))
        return [row.answer for row in rows]

    def leave(self, performer: SessionRow) -> None:
        """Free what ``performer`` has here; it makes no more frames."""
        if performer.row is not None:
            self._motion.give_back(performer.row)
            performer.row = None
        performer.left = True

    def _enter(self, row: _Row) -> None:
        performer = row.performer
        performer.begin(row.request.generation)
        if performer.left:
            row.answer = SessionClosed("this session has left its device")
        elif performer.row is None:
            try:
                performer.row = self._motion.take(
                    performer.avatar, performer.seed, generate_gaze=performer.generate_gaze
                )
                performer.number = next(self._numbers)
            except CapacityExceeded as error:
                row.answer = error

    def _move(self, rows: list[_Row], step: int) -> None:
        """One more descriptor for each row."""

        def express(rows: list[_Row]) -> list[_F32]:
            mel_BFW = np.stack([row.request.inputs[step].mel_FW for row in rows])
            return list(self._motion.express([_number(row) for row in rows], mel_BFW))

        rows, expressions = self._with_room(rows, express)
        for row, expression in zip(rows, expressions, strict=True):
            row.expression = expression
        for part in ("pose", "gaze"):
            due = [row for row in rows if part in row.performer.driver.hops]
            self._hop(part, [row for row in due if not row.performer.driver.hops[part]], step)
        for row in rows:
            if row.lost:
                continue
            assert row.expression is not None
            given = row.request.inputs[step]
            row.performer.window.push(row.performer.driver.mixed(given, row.expression))
            row.performer.speaking.append(given.speaking)
            self._probe("mixer")

    def _hop(self, part: str, rows: list[_Row], step: int) -> None:
        def hop(rows: list[_Row]) -> list[_F32]:
            prosody_BHM = np.stack([row.request.inputs[step].prosody_HM for row in rows])
            return list(self._motion.hop(part, [_number(row) for row in rows], prosody_BHM))

        rows, residuals = self._with_room(rows, hop)
        for row, residual in zip(rows, residuals, strict=True):
            row.performer.driver.hops[part].extend(residual)

    def _draw(self, rows: list[_Row]) -> None:
        rows, images = self._with_room(rows, self._images)
        finishes = getattr(self._animator, "finishes", False)
        past = self._animator.past_frames
        for row, rgb in zip(rows, images, strict=True):
            assert row.window is not None
            finished = finishes and row.performer.finished
            row.answer = MadeFrame(row.request, rgb, row.window[past], row.speaking, finished)

    def _images(self, rows: list[_Row]) -> list[npt.NDArray[np.uint8]]:
        animator = self._animator
        size = next((bucket for bucket in self._buckets if bucket >= len(rows)), len(rows))
        if not isinstance(animator, NeuralAnimator):
            images = [
                animator.render(row.performer.avatar.prepared, _window(row), intensity=row.request.intensity)
                for row in rows
            ]
            self._probe("animator")
            return images
        padded = rows + rows[-1:] * (size - len(rows))
        drawn = animator.render_batch(
            [row.performer.avatar.prepared for row in padded],
            np.stack([_window(row) for row in padded]),
            intensity=[row.request.intensity for row in padded],
            finished=[animator.finishes and row.performer.finished for row in padded],
        )
        self._probe("animator")
        return list(drawn[: len(rows)])

    def _with_room(self, rows: list[_Row], call: Callable[[list[_Row]], list[_T]]) -> tuple[list[_Row], list[_T]]:
        """``call`` of the rows that the device has memory for, and those rows."""
        while rows:
            try:
                return rows, call(rows)
            except torch.cuda.OutOfMemoryError as error:
                newest = max(rows, key=lambda row: row.performer.number)
                log.warning("the device is out of memory: one session of %d is dropped", len(rows))
                newest.answer = DeviceMemoryExceeded(f"the device has no memory left for this session: {error}")
                self.leave(newest.performer)
                rows = [row for row in rows if row is not newest]
            except Exception as error:
                return self._one_by_one(rows, call, error)
            # Not within the handler: the error holds on to the frames that ran out of memory.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return [], []

    def _one_by_one(
        self, rows: list[_Row], call: Callable[[list[_Row]], list[_T]], error: Exception
    ) -> tuple[list[_Row], list[_T]]:
        """`_with_room` after ``error``: a phase that fails has changed nothing."""
        if len(rows) == 1:
            rows[0].answer = error
            self.leave(rows[0].performer)
            return [], []
        log.warning("a batch of %d failed and is made row by row", len(rows), exc_info=error)
        done = [self._with_room([row], call) for row in rows]
        return [row for kept, _ in done for row in kept], [value for _, values in done for value in values]


def _number(row: _Row) -> int:
    assert row.performer.row is not None
    return row.performer.row


def _window(row: _Row) -> _F32:
    assert row.window is not None
    return row.window
