"""One who speaks into a session: audio of any usual rate becomes blocks in its jitter_buffer.

A session has one voice at a time. Whoever opens an input last is heard; what others still push is dropped, and when
the newest is closed, the session falls silent.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from server.live.jitter_buffer import MEDIA_RATE_HZ, JitterBuffer

_LIVE_BACKLOG_BLOCKS = 500
_PACED_BACKLOG_BLOCKS = 6_000


class AudioSource:
    """Made by ``LiveSession.open_voice``.

    ``live``: the audio comes at the pace of speech, so a backlog is a fault that may shrink in pauses, and at most
    10 s of it are kept. Else it may come as fast as it likes: up to 120 s wait, and pauses are kept.
    """

    def __init__(self, jitter_buffer: JitterBuffer, *, live: bool) -> None:
        self._jitter_buffer: JitterBuffer | None = jitter_buffer
        self._live = live
        self._resampler: av.AudioResampler | None = None
        self._rate_hz = 0
        jitter_buffer.clear()
        jitter_buffer.keeps_pauses = not live
        jitter_buffer.max_blocks = _LIVE_BACKLOG_BLOCKS if live else _PACED_BACKLOG_BLOCKS

    def push_frame(self, frame: av.AudioFrame) -> None:
        """Take a decoded frame of any layout and rate."""
        if self._jitter_buffer is None:
            return
        if self._resampler is None or frame.sample_rate != self._rate_hz:
            self._rate_hz = frame.sample_rate
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=MEDIA_RATE_HZ)
        for resampled in self._resampler.resample(frame):
            samples = np.frombuffer(bytes(resampled.planes[0]), np.int16)
            self._jitter_buffer.push(samples[: resampled.samples])

    def push_pcm(self, samples: npt.NDArray[np.int16], rate_hz: int) -> None:
        """Take int16 (n,) mono at ``rate_hz``, 8000 to 96000."""
        if len(samples) == 0 or self._jitter_buffer is None:
            return
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        self.push_frame(frame)

    def close(self) -> None:
        """Push no more; what was taken is still said."""
        self._jitter_buffer = None
        self._resampler = None  # it owns threads, which must not wait for the garbage collector
