"""The few finished frames that wait for their moment, wherever they are shown.

Drop policy: past ``max_frames`` the oldest goes; of those that are due only the newest is shown. ``overtaken`` counts
both.
"""

import threading
from collections import deque

from server.live.frame import LiveFrame


class FrameQueue:
    """Frames in the order of their places. Safe from any thread."""

    def __init__(self, max_frames: int) -> None:
        self._max_frames = max_frames
        self._frames: deque[LiveFrame] = deque()
        self._lock = threading.Lock()
        self.overtaken = 0

    def put(self, frame: LiveFrame) -> None:
        with self._lock:
            self._frames.append(frame)
            if len(self._frames) > self._max_frames:
                self._overtake()

    def first(self, place: int | None = None) -> LiveFrame | None:
        """The newest frame that is due at ``place``, else the next one after it; it stays here."""
        with self._lock:
            while place is not None and len(self._frames) > 1 and self._frames[1].place <= place:
                self._overtake()
            return self._frames[0] if self._frames else None

    def take(self, place: int) -> LiveFrame | None:
        """The newest frame that is due at ``place``, removed; None while none is due."""
        frame = self.first(place)
        if frame is None or frame.place > place:
            return None
        self.remove(frame)
        return frame

    def remove(self, frame: LiveFrame) -> None:
        """``frame``, which was the first, has been shown."""
        with self._lock:
            if self._frames and self._frames[0] is frame:
                self._frames.popleft()

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._frames.clear()

    def _overtake(self) -> None:
        self._frames.popleft()
        self.overtaken += 1
