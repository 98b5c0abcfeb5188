"""One who speaks into a session: audio of any usual rate becomes blocks in its jitter buffer.

A session has one voice at a time. Whoever opens a source last is heard; what others still push is dropped, and when
the newest is closed, the session falls silent.
"""

import av
import numpy as np

from engine.errors import AudioInvalid
from engine.timebase import SAMPLE_RATE_HZ
from server.live.block import MEDIA_RATE_HZ
from server.live.engine_session import Samples
from server.live.jitter_buffer import JitterBuffer

# 10 s: more is no jitter but a fault. Two minutes: an agent's longest answers, sent as fast as they are made.
_LIVE_BACKLOG_BLOCKS = 500
_PACED_BACKLOG_BLOCKS = 6_000
_NOTHING: Samples = np.zeros(0, np.int16)


class VoiceResampler:
    """Audio of any rate and layout becomes 48 kHz mono, in a stream.

    ``every`` is 3 while all of it came at 16 kHz, the engine's own rate: every third sample that was given back is then
    one that was pushed, for swresample, going up, has its cutoff at the source's limit, so that one phase of its
    filter changes nothing. Else it is 1.
    """

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._rate_hz = 0
        self.every = 1

    def push_frame(self, frame: av.AudioFrame) -> Samples:
        """What a decoded frame adds, int16 (n,); after a change of rate also what the old one still held back."""
        held = _NOTHING
        if frame.sample_rate != self._rate_hz:
            held, is_first, self._rate_hz = self.flush(), self._rate_hz == 0, frame.sample_rate
            self.every = MEDIA_RATE_HZ // SAMPLE_RATE_HZ if is_first and self._rate_hz == SAMPLE_RATE_HZ else 1
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=MEDIA_RATE_HZ)
        return np.concatenate([held, *self._resample(frame)])

    def push(self, samples: Samples, rate_hz: int) -> Samples:
        """What samples add, int16 (n,) or (n, channels) at 8000 to 192000 Hz.

        Raises:
            AudioInvalid: the samples cannot be used; nothing of them was taken.
        """
        if samples.dtype != np.int16 or samples.ndim not in (1, 2) or not 8_000 <= rate_hz <= 192_000:
            raise AudioInvalid(
                f"audio must be int16, (n,) or (n, channels), at 8000 to 192000 Hz; "
                f"not {samples.dtype} {samples.shape} at {rate_hz} Hz"
            )
        if samples.size == 0:
            return _NOTHING
        if samples.ndim == 2:
            samples = np.rint(samples.mean(axis=1)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        return self.push_frame(frame)

    def flush(self) -> Samples:
        """What is held back; the next push begins anew."""
        if self._resampler is None:
            return _NOTHING
        held = np.concatenate([_NOTHING, *self._resample(None)])
        self._resampler = None
        return held

    def _resample(self, frame: av.AudioFrame | None) -> list[Samples]:
        assert self._resampler is not None
        return [each.to_ndarray()[0].astype(np.int16) for each in self._resampler.resample(frame)]


class AudioSource:
    """Opened by ``LiveSession.open_voice``.

    ``live``: the audio comes at the pace of speech, so a backlog is a fault that may shrink in pauses, and at most
    10 s of it are kept. Else it may come as fast as it likes: up to 120 s wait, and pauses are kept.
    """

    def __init__(self, jitter_buffer: JitterBuffer, *, live: bool) -> None:
        self._jitter_buffer: JitterBuffer | None = jitter_buffer
        self._resampler = VoiceResampler()
        jitter_buffer.clear()
        jitter_buffer.keeps_pauses = not live
        jitter_buffer.max_blocks = _LIVE_BACKLOG_BLOCKS if live else _PACED_BACKLOG_BLOCKS

    def push_frame(self, frame: av.AudioFrame) -> None:
        """Take a decoded frame of any layout and rate."""
        if self._jitter_buffer is not None:
            self._jitter_buffer.push(self._resampler.push_frame(frame))
            self._jitter_buffer.every = self._resampler.every

    def push_pcm(self, samples: Samples, rate_hz: int) -> None:
        """Take int16 (n,) or (n, channels) at ``rate_hz``, 8000 to 192000. Raises `AudioInvalid` for anything else."""
        if self._jitter_buffer is not None and len(samples):
            self._jitter_buffer.push(self._resampler.push(samples, rate_hz))
            self._jitter_buffer.every = self._resampler.every

    def close(self) -> None:
        """Push no more; what was taken is still said."""
        self._jitter_buffer = None
        self._resampler = VoiceResampler()  # the old one owns threads, which must not wait for the garbage collector
