"""Audio front end of a session: chunks of any kind become mel columns and voice flags, addressed by time."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from engine.audio.downmix import StreamingDownmix
from engine.audio.level import AutomaticGain, SpeechLevel
from engine.audio.mel import MEL_SILENCE, StreamingMel
from engine.audio.pcm import to_float
from engine.audio.resample import StreamingResampler
from engine.audio.vad import VAD_FRAME_SAMPLES, VoiceActivity
from engine.streaming import Ring
from engine.timebase import MEL_BANDS, SAMPLE_RATE_HZ

_HISTORY_COLUMNS = 1024
_BLOCK_SAMPLES = SAMPLE_RATE_HZ
# Of 10 ms: a sentence, after which the level of a voice is known to a decibel or two.
_FRAMES_OF_SPEECH = 300


class AudioFrontend:
    """Stateful front end of one stream. Memory is bounded: columns and flags older than about ten seconds go.

    Callers feed at most a second at a time (``blocks``) and read what that completes before they feed on.

    Args:
        level_dbfs: of the voice, where it is known, see `engine.audio.level`; None finds it out while listening.
    """

    def __init__(self, level_dbfs: float | None = None) -> None:
        self._downmix = StreamingDownmix()
        self._gain = AutomaticGain(level_dbfs)
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
    def level_dbfs(self) -> float | None:
        """Level of the voice as far as it is known."""
        return self._gain.level.dbfs

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
        samples, parts = to_float(chunk), []
        if self._resampler is None or self._resampler.source_rate_hz != sample_rate_hz:
            fresh = StreamingResampler(sample_rate_hz)
            parts.append(self.drain())
            self._resampler = fresh
        assert self._resampler is not None
        mono = samples if samples.ndim == 1 else self._downmix.push(samples, sample_rate_hz)
        parts.append(self._resampler.push(mono))
        return _cut(np.concatenate(parts))

    def drain(self) -> npt.NDArray[np.float32]:
        """What the resampler still holds back (end of a stream or change of rate)."""
        return np.zeros(0, np.float32) if self._resampler is None else self._resampler.flush()

    def hear(self, block: npt.NDArray[np.float32]) -> None:
        """Take (n,) float32 samples at 16 kHz."""
        self._samples += len(block)
        levelled = self._gain.push(block)
        self._columns.push(self._mel.push(levelled).T)
        self._flags.push(np.array(self._voice.push(levelled), dtype=np.float32))

    def columns(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Mel columns (stop - start, 80); silence before the stream began."""
        return self._columns.read(start, stop)

    def speaking(self, flag: int) -> bool:
        """Voice flag number ``flag`` (10 ms each)."""
        return bool(self._flags.read(flag, flag + 1)[0])


def speech_level(chunks: Iterable[tuple[npt.ArrayLike, int]]) -> float | None:
    """Level of the voice in a recording, dBFS, from its first seconds of speech; None where there is no speech.

    Args:
        chunks: as `AudioFrontend.blocks` takes them, with their rates; no more is read than is needed.
    """
    frontend, level = AudioFrontend(), SpeechLevel()
    rest = np.zeros(0, np.float32)
    heard = 0
    for chunk, rate_hz in chunks:
        joined = np.concatenate([rest, *frontend.blocks(chunk, rate_hz)])
        whole = len(joined) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES
        rest = joined[whole:]
        for frame in joined[:whole].reshape(-1, VAD_FRAME_SAMPLES):
            level.push(frame)
            heard += level.dbfs is not None
            if heard >= _FRAMES_OF_SPEECH:
                return level.dbfs
    return level.dbfs


def _cut(wave: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    return [wave[start : start + _BLOCK_SAMPLES] for start in range(0, len(wave), _BLOCK_SAMPLES)]
