"""One frame on its way: the type that every stage takes and passes on.

Session.listen --> [scheduler, if sessions share a device] --> BatchRenderer.render --> Session.postprocess
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.batch.session_row import SessionRow
from engine.motion.driver import MotionInput
from engine.timebase import SAMPLES_PER_FRAME

_F32 = npt.NDArray[np.float32]


@dataclass(slots=True, kw_only=True, eq=False)
class FrameJob:
    """A frame to be rendered, and what became of it.

    All jobs of a session are to be rendered in order; those of an older ``generation`` than the newest may be left out.

    Attributes set by the session:
        row: the session's place in its renderer.
        generation: the session's number of interrupts; a job of an older generation is stale.
        index: number of the frame in the session.
        inputs: for the descriptors that this frame needs and no earlier one has asked for.
        intensity: lambda of section 4.3, 0 to 1.
        speaking: whether the voice gate is open.

    Set by a scheduler:
        shown: False for a frame that nobody will see: its motion is computed, its image is not.
        place: the frame's time in the voice as its speaker counts it; the engine reads neither this nor the next three.
        due_s, came_s: when the image must be there, and when the job was handed over, by the scheduler's clock.
        device_s: how long a shared device worked on it.

    Set by the renderer:
        window_TD: (past + 1 + future, 72) descriptors, as the animator sees them.
        rgb: uint8 (size, size, 3), the head; None until it is rendered, and where it is not ``shown``.
        error: what ended the session at this frame.
    """

    row: SessionRow
    generation: int
    index: int
    inputs: tuple[MotionInput, ...]
    intensity: float
    speaking: bool
    shown: bool = True
    place: int = 0
    due_s: float = 0.0
    came_s: float = 0.0
    device_s: float = 0.0
    window_TD: _F32 | None = None
    rgb: npt.NDArray[np.uint8] | None = None
    error: Exception | None = None

    @property
    def pts_samples(self) -> int:
        """The frame's time at 16 kHz."""
        return self.index * SAMPLES_PER_FRAME

    @property
    def descriptor(self) -> _F32:
        """(72,) float32, the motion that the frame shows; there once the job is rendered."""
        assert self.window_TD is not None, "the job has not been rendered"
        shown: _F32 = self.window_TD[self.row.window.past_frames]
        return shown
