"""Audio front end of a session: chunks of any kind become mel columns and voice flags, addressed by time."""

import numpy as np
import numpy.typing as npt

from engine.audio.mel import MEL_SILENCE, StreamingMel
from engine.audio.pcm import to_mono_float
from engine.audio.resample import StreamingResampler
from engine.audio.vad import VoiceActivity
from engine.streaming import Ring
from engine.timebase import MEL_BANDS, SAMPLE_RATE_HZ

_HISTORY_COLUMNS = 1024
_BLOCK_SAMPLES = SAMPLE_RATE_HZ


class AudioFrontend:
    """Stateful front end of one stream. Memory is bounded: columns and flags older than about ten seconds go.

    Callers feed at most a second at a time (``blocks``) and read what that completes before they feed on.
    """

    def __init__(self) -> None:
        self._mel = StreamingMel()
        self._voice = VoiceActivity()
        self._resampler: StreamingResampler | None = None
        self._columns = Ring(_HISTORY_COLUMNS, (MEL_BANDS,), before=MEL_SILENCE)
        self._flags = Ring(_HISTORY_COLUMNS, (), before=0.0)
        self._samples = 0

    @property
    def samples(self) -> int:
        """16 kHz samples heard so far."""
        return self._samples

    @property
    def columns_end(self) -> int:
        """One past the newest final mel column."""
        return self._columns.end

    @property
    def flags_end(self) -> int:
        """One past the newest final 10 ms voice flag."""
        return self._flags.end

    @property
    def resampler_delay_samples(self) -> int:
        """16 kHz samples that the resampler holds back for its filter."""
        return 0 if self._resampler is None else self._resampler.latency_samples

    def blocks(self, chunk: npt.ArrayLike, sample_rate_hz: int) -> list[npt.NDArray[np.float32]]:
        """Check and resample one chunk; cut what comes out into blocks of at most a second for ``hear``.

        Args:
            chunk: int16, int32 or float32, (n,) or (n, channels).
            sample_rate_hz: 8000 to 192000; may change between chunks.

        Raises:
            AudioInvalid: wrong type, shape, rate, NaN or infinity; nothing of the chunk was taken.
        """
        mono = to_mono_float(chunk)
        parts = []
        if self._resampler is None or self._resampler.source_rate_hz != sample_rate_hz:
            fresh = StreamingResampler(sample_rate_hz)
            parts.append(self.drain())
            self._resampler = fresh
        assert self._resampler is not None
        parts.append(self._resampler.push(mono))
        return _cut(np.concatenate(parts))

    def drain(self) -> npt.NDArray[np.float32]:
        """What the resampler still holds back (end of a stream or change of rate)."""
        return np.zeros(0, np.float32) if self._resampler is None else self._resampler.flush()

    def hear(self, block: npt.NDArray[np.float32]) -> None:
        """Take (n,) float32 samples at 16 kHz."""
        self._samples += len(block)
        self._columns.push(self._mel.push(block).T)
        self._flags.push(np.array(self._voice.push(block), dtype=np.float32))

    def columns(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Mel columns (stop - start, 80); silence before the stream began."""
        return self._columns.read(start, stop)

    def speaking(self, flag: int) -> bool:
        """Voice flag number ``flag`` (10 ms each)."""
        return bool(self._flags.read(flag, flag + 1)[0])


def _cut(wave: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    return [wave[start : start + _BLOCK_SAMPLES] for start in range(0, len(wave), _BLOCK_SAMPLES)]
