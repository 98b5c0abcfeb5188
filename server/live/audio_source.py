"""One who speaks into a session: audio of any usual rate becomes blocks in its jitter buffer.

A session has one voice at a time. Whoever opens a source last is heard; what others still push is dropped, and when
the newest is closed, the session falls silent.
"""

from __future__ import annotations

import av
import numpy as np

from engine.errors import AudioInvalid
from engine.timebase import SAMPLE_RATE_HZ
from server.live.block import BLOCK_SAMPLES, MEDIA_RATE_HZ
from server.live.engine_session import Samples
from server.live.jitter_buffer import JitterBuffer, Voice

# 10 s: more is no jitter but a fault. Two minutes: an agent's longest answers, sent as fast as they are made.
_LIVE_BACKLOG_BLOCKS = 500
_PACED_BACKLOG_BLOCKS = 6_000
_NARROW_SAMPLES = BLOCK_SAMPLES * SAMPLE_RATE_HZ // MEDIA_RATE_HZ
_NOTHING: Samples = np.zeros(0, np.int16)


class VoiceResampler:
    """Audio of any rate and layout becomes 48 kHz mono, in a stream."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._rate_hz = 0

    def push_frame(self, frame: av.AudioFrame) -> Samples:
        """What a decoded frame adds, int16 (n,); after a change of rate also what the old one still held back."""
        held = self.flush() if frame.sample_rate != self._rate_hz else _NOTHING
        if self._resampler is None:
            self._rate_hz = frame.sample_rate
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
        self._resampler, self._rate_hz = None, 0
        return held

    def _resample(self, frame: av.AudioFrame | None) -> list[Samples]:
        assert self._resampler is not None
        return [each.to_ndarray()[0].astype(np.int16) for each in self._resampler.resample(frame)]


class AudioSource:
    """Opened by ``LiveSession.open_voice``.

    ``live``: the audio comes at the pace of speech, so a backlog is a fault that may shrink in pauses, and at most
    10 s of it are kept. Else it may come as fast as it likes: up to 120 s wait, and pauses are kept.

    Mono audio at 16 kHz, the engine's own rate, is kept beside what viewers hear, so that it is not resampled twice.
    """

    def __init__(self, jitter_buffer: JitterBuffer, *, live: bool) -> None:
        self._jitter_buffer: JitterBuffer | None = jitter_buffer
        self._resampler = VoiceResampler()
        self._is_narrow = False
        self._samples = self._narrow = _NOTHING
        jitter_buffer.clear()
        jitter_buffer.keeps_pauses = not live
        jitter_buffer.max_blocks = _LIVE_BACKLOG_BLOCKS if live else _PACED_BACKLOG_BLOCKS

    def push_frame(self, frame: av.AudioFrame) -> None:
        """Take a decoded frame of any layout and rate."""
        self._push(self._resampler.push_frame(frame), None)

    def push_pcm(self, samples: Samples, rate_hz: int) -> None:
        """Take int16 (n,) mono at ``rate_hz``, 8000 to 192000. Raises `AudioInvalid` for anything else."""
        resampled = self._resampler.push(samples, rate_hz)
        self._push(resampled, samples if rate_hz == SAMPLE_RATE_HZ else None)

    def clear(self) -> None:
        """Forget what was taken and is not in the jitter buffer yet, less than a block."""
        self._samples = self._narrow = _NOTHING

    def close(self) -> None:
        """Push no more; what was taken is still said."""
        self._jitter_buffer = None
        self._resampler = VoiceResampler()  # the old one owns threads, which must not wait for the garbage collector

    def _push(self, samples: Samples, narrow: Samples | None) -> None:
        if self._jitter_buffer is None:
            return
        if (narrow is not None) != self._is_narrow:  # the pieces of a block have to begin together
            self._is_narrow = narrow is not None
            self.clear()
        self._samples = np.concatenate([self._samples, samples])
        blocks = len(self._samples) // BLOCK_SAMPLES
        if narrow is not None:
            self._narrow = np.concatenate([self._narrow, narrow])
            blocks = min(blocks, len(self._narrow) // _NARROW_SAMPLES)
        for number in range(blocks):
            place, narrow_place = number * BLOCK_SAMPLES, number * _NARROW_SAMPLES
            self._jitter_buffer.push(
                Voice(
                    self._samples[place : place + BLOCK_SAMPLES],
                    self._narrow[narrow_place : narrow_place + _NARROW_SAMPLES] if self._is_narrow else None,
                )
            )
        self._samples = self._samples[blocks * BLOCK_SAMPLES :]
        self._narrow = self._narrow[blocks * _NARROW_SAMPLES :]
