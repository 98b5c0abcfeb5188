"""Renders the next frames of several sessions together: one batch of the motion networks, one of the animator.

    job of a --.  lips, eyes (all)  hops (those due)  mixer (each)     images (all that are shown)
    job of b ---> ---------------> ----------------> -----------> q_t ----------------------------> jobs with images
    job of c --'       rows of `MotionBatch`                             label, watermark: `Session.postprocess`

A session alone is a batch of one, so there is one way to a frame. A batch differs from it only by how a matrix product
of another size rounds.

Out of memory: the session that joined last is dropped, with what it had on the device, and the phase runs again for the
others, from the same numbers. A phase that fails otherwise runs again row by row, and ends the sessions it fails for.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from engine.animator.interface import Animator
from engine.batch.job import FrameJob
from engine.batch.motion_batch import MotionBatch
from engine.batch.session_row import SessionRow
from engine.errors import CapacityExceeded, DeviceMemoryExceeded, SessionClosed
from engine.motion.driver import MotionNetworks
from engine.runtime.card import Capture

BUCKETS = (1, 2, 4, 8, 16)
"""Numbers of rows that a device has a program for; a batch takes the next one up."""

log = logging.getLogger(__name__)

Probe = Callable[[str], None]
"""Called with the name of each stage as it ends; benchmarks read a clock in it."""

_F32 = npt.NDArray[np.float32]
_T = TypeVar("_T")


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
        self.networks, self.animator = networks, animator
        self._probe = probe or (lambda stage: None)
        self._buckets = BUCKETS if captured else ()
        self._motion = MotionBatch(networks, capacity, buckets=self._buckets, capture=capture, probe=probe)
        self._joined = itertools.count(1)

    def prepare(self) -> None:
        """Capture the steps of the motion for every number of sessions; that of images comes with the first batches."""
        self._motion.prepare()

    def render(self, jobs: Sequence[FrameJob]) -> None:
        """Fill in a job each of some sessions, all different.

        Each job then has its descriptors, and its image if it is ``shown``; or the ``error`` that ends its session:
        `CapacityExceeded` where no row is free, `DeviceMemoryExceeded` where it had to be dropped, `SessionClosed`
        after `leave`, or what its frame failed with.
        """
        for job in jobs:
            self._enter(job)
        for step in range(max((len(job.inputs) for job in jobs), default=0)):
            self._move([job for job in jobs if job.error is None and step < len(job.inputs)], step)
        moved = [job for job in jobs if job.error is None]
        for job in moved:
            job.window_TD = job.row.window.take()
        # Portraits in an order of their own: the same ones make the same batch, whose features are there already.
        shown = sorted((job for job in moved if job.shown), key=lambda job: id(job.row.avatar.prepared))
        for job, rgb in self._with_room(shown, self._images):
            job.rgb = rgb

    def leave(self, row: SessionRow) -> None:
        """Free what ``row`` has here; it renders no more frames."""
        if row.index is not None:
            self._motion.give_back(row.index)
            row.index = None
        row.left = True

    def _enter(self, job: FrameJob) -> None:
        row = job.row
        row.begin(job.generation)
        if row.left:
            job.error = SessionClosed("this session has left its device")
        elif row.index is None:
            try:
                row.index = self._motion.take(row.avatar, row.seed, generate_gaze=row.generate_gaze)
                row.joined = next(self._joined)
            except CapacityExceeded as error:
                job.error = error

    def _move(self, jobs: list[FrameJob], step: int) -> None:
        """One more descriptor for each job's session."""

        def express(jobs: list[FrameJob]) -> list[_F32]:
            mel_BFW = np.stack([job.inputs[step].mel_FW for job in jobs])
            return list(self._motion.express([_row_index(job) for job in jobs], mel_BFW))

        expressed = self._with_room(jobs, express)
        for part in ("pose", "gaze"):
            due = [job for job, _ in expressed if job.error is None and job.row.driver.needs_hop(part)]
            self._hop(part, due, step)
        for job, expression in expressed:
            if job.error is None:
                job.row.window.push(job.row.driver.mixed(job.inputs[step], expression))
                self._probe("mixer")

    def _hop(self, part: str, jobs: list[FrameJob], step: int) -> None:
        def hop(jobs: list[FrameJob]) -> list[_F32]:
            prosody_BHM = np.stack([job.inputs[step].prosody_HM for job in jobs])
            return list(self._motion.hop(part, [_row_index(job) for job in jobs], prosody_BHM))

        for job, residual in self._with_room(jobs, hop):
            job.row.driver.hops[part].extend(residual)

    def _images(self, jobs: list[FrameJob]) -> list[npt.NDArray[np.uint8]]:
        size = next((bucket for bucket in self._buckets if bucket >= len(jobs)), len(jobs))
        padded = jobs + jobs[-1:] * (size - len(jobs)) if self.animator.batches else jobs
        images = self.animator.render_batch(
            [job.row.avatar.prepared for job in padded],
            np.stack([job.window_TD for job in padded if job.window_TD is not None]),
            intensity=[job.intensity for job in padded],
            finished=[job.row.animator_finishes for job in padded],
        )
        self._probe("animator")
        return list(images[: len(jobs)])

    def _with_room(self, jobs: list[FrameJob], call: Callable[[list[FrameJob]], list[_T]]) -> list[tuple[FrameJob, _T]]:
        """``call`` of the jobs that the device has memory for, each with its result."""
        while jobs:
            try:
                return list(zip(jobs, call(jobs), strict=True))
            except torch.cuda.OutOfMemoryError as error:
                newest = max(jobs, key=lambda job: job.row.joined)
                log.warning("the device is out of memory: one session of %d is dropped", len(jobs))
                newest.error = DeviceMemoryExceeded(f"the device has no memory left for this session: {error}")
                self.leave(newest.row)
                jobs = [job for job in jobs if job is not newest]
            except Exception as error:
                return self._one_by_one(jobs, call, error)
            # Not within the handler: the error holds on to the frames that ran out of memory.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return []

    def _one_by_one(
        self, jobs: list[FrameJob], call: Callable[[list[FrameJob]], list[_T]], error: Exception
    ) -> list[tuple[FrameJob, _T]]:
        """`_with_room` after ``error``: a phase that fails has changed nothing."""
        if len(jobs) == 1:
            jobs[0].error = error
            self.leave(jobs[0].row)
            return []
        log.warning("a batch of %d failed and is rendered row by row", len(jobs), exc_info=error)
        return [pair for job in jobs for pair in self._with_room([job], call)]


def _row_index(job: FrameJob) -> int:
    assert job.row.index is not None
    return job.row.index
