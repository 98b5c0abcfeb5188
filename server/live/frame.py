"""Finished frames on their way to the viewers of a session."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A finished frame and the moment of the voice that it belongs to.

    Attributes:
        rgb: uint8 (H, W, 3).
        place: the frame's time, in samples of the voice since its start and at its rate.
        generation: number of interrupts before it; a frame of an older generation is not shown any more.
    """

    rgb: npt.NDArray[np.uint8]
    place: int
    generation: int


class FrameSink(Protocol):
    """Takes the frames of a session on behalf of one viewer. Called on the event loop; no call blocks."""

    @property
    def sent(self) -> int:
        """Frames that the viewer was sent."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that a later one overtook before they could be sent."""
        ...

    def offer(self, frame: LiveFrame) -> None:
        """Take a frame; the sink decides when to send it, and whether."""
        ...

    def drop_stale(self) -> None:
        """Forget what waits and was made before an interrupt."""
        ...

    def stop(self) -> None:
        """Send nothing any more."""
        ...
