"""The window of motion descriptors around the shown frame, as a stream knows it.

past (repeats the first frame)         shown     waited for      not seen yet (holds the newest)
| t-p ... t-1                           | t |     t+1 .. t+a     | t+a  t+a  ... |   p + 1 + f rows
"""

from collections import deque

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]


class DescriptorWindow:
    """Descriptors of one session, in order; `take` gives one frame's window and moves on."""

    def __init__(self, past_frames: int, future_frames: int, awaited_frames: int) -> None:
        """
        Args:
            past_frames, future_frames: what the animator sees beside the shown frame.
            awaited_frames: how many of the future are really there when a frame is shown.

        Raises:
            ValueError: more frames are awaited than seen.
        """
        if not 0 <= awaited_frames <= future_frames:
            raise ValueError(f"awaited_frames must be within 0..{future_frames}, not {awaited_frames}")
        self.past_frames = past_frames
        self._repeats = future_frames - awaited_frames
        self._awaited = awaited_frames
        self._before: deque[_F32] = deque(maxlen=past_frames)
        self._ahead: deque[_F32] = deque()

    def push(self, descriptor: _F32) -> None:
        """Add the newest descriptor (72,)."""
        self._ahead.append(descriptor)

    def drop_ahead(self) -> None:
        """Forget what was not shown yet."""
        self._ahead.clear()

    def take(self) -> _F32:
        """Window (past + 1 + future, 72) of the next frame, which counts as shown from now on."""
        assert len(self._ahead) == self._awaited + 1
        seen = [*self._before, *self._ahead]
        first, newest = seen[0], self._ahead[-1]
        missing = self.past_frames - len(self._before)
        window: _F32 = np.stack([first] * missing + seen + [newest] * self._repeats)
        self._before.append(self._ahead.popleft())
        return window
