"""The mel spectrogram of the lip and prosody networks, for whole files and for streams.

    16 kHz samples, hop 200, window 800: column j is centred on sample 200 j and reaches 25 ms either side.

              400 zeros |  samples ...
    column 0  [---------0---------]
    column 1       [---------200--------]
    column j is final once sample 200 j + 399 is here.

Definition (the release of GoHD; float64 inside): pre-emphasis y[n] = x[n] - 0.97 x[n-1]; periodic Hann;
magnitude of the FFT; 80 triangular bands from 55 to 7600 Hz, Slaney's mel scale and area normalisation
(Auditory Toolbox, 1998); D = 20 log10(max(1e-5, mel)) - 20; clip(8 (D + 100) / 100 - 4, -4, 4).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import AudioInvalid
from engine.timebase import MEL_BANDS, MEL_HOP_SAMPLES, MEL_WINDOW_SAMPLES, SAMPLE_RATE_HZ

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

MEL_SILENCE: Final = -4.0
"""Value of every band of a column of digital silence."""

_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
_PRE_EMPHASIS = 0.97
_HALF = MEL_WINDOW_SAMPLES // 2
_BLOCK_COLUMNS = 256


def _mel_to_hz(mel: Float64) -> Float64:
    """Slaney's scale: linear below 1 kHz (3 mel per 200 Hz), then 27 mel per factor 6.4."""
    return np.where(mel < 15.0, mel * (200.0 / 3.0), 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


def _hz_to_mel(hz: float) -> float:
    return 3.0 * hz / 200.0 if hz < 1000.0 else 15.0 + 27.0 * np.log(hz / 1000.0) / np.log(6.4)


def _filterbank() -> Float64:
    """Triangles of unit area over the FFT bins: (window / 2 + 1, bands)."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(_LOWEST_HZ), _hz_to_mel(_HIGHEST_HZ), MEL_BANDS + 2))
    low, mid, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.fft.rfftfreq(MEL_WINDOW_SAMPLES, 1.0 / SAMPLE_RATE_HZ)[:, None]
    triangles = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid))
    return np.ascontiguousarray(np.maximum(0.0, triangles) * (2.0 / (high - low)))


_BANK: Final = _filterbank()
_HANN: Final = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(MEL_WINDOW_SAMPLES) / MEL_WINDOW_SAMPLES)


def _columns(windows: Float64) -> Float32:
    """Pre-emphasised windows (k, 800) -> columns (80, k), each computed by itself: same bits in any batch."""
    magnitude = np.abs(np.fft.rfft(windows * _HANN, axis=1))
    bands = np.matmul(magnitude[:, None, :], _BANK)[:, 0]
    decibel = 20.0 * np.log10(np.maximum(1e-5, bands)) - 20.0
    columns: Float64 = np.clip(8.0 * (decibel + 100.0) / 100.0 - 4.0, -4.0, 4.0)
    return columns.astype(np.float32).T


class StreamingMel:
    """`mel_spectrogram` in chunks of any size, bit-equal to the whole. One object per stream."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._previous = 0.0
        # Pre-emphasised samples from the start of the next column's window on.
        self._pending: Float64 = np.zeros(_HALF)
        self._columns = 0

    @property
    def columns(self) -> int:
        """Number of columns given out so far."""
        return self._columns

    def push(self, wave: Float32) -> Float32:
        """Next 16 kHz samples (n,) in [-1, 1], any n -> the columns (80, k) that are now final."""
        if wave.ndim != 1:
            raise AudioInvalid(f"the mel spectrogram takes mono samples (n,), got {wave.shape}")
        joined = np.empty(len(self._pending) + len(wave))
        joined[: len(self._pending)] = self._pending
        fresh = joined[len(self._pending) :]
        fresh[:] = wave
        if len(wave):
            last = float(fresh[-1])
            fresh[1:] -= _PRE_EMPHASIS * wave[:-1].astype(np.float64)
            fresh[0] -= _PRE_EMPHASIS * self._previous
            self._previous = last
        return self._emit(joined)

    def flush(self) -> Float32:
        """End of the stream: the last columns, whose windows reach past it. Then the object is as new."""
        tail = self._emit(np.concatenate([self._pending, np.zeros(_HALF)]))
        self.reset()
        return tail

    def _emit(self, joined: Float64) -> Float32:
        count = max(0, (len(joined) - MEL_WINDOW_SAMPLES) // MEL_HOP_SAMPLES + 1)
        self._pending = joined[count * MEL_HOP_SAMPLES :].copy()
        self._columns += count
        out = np.empty((MEL_BANDS, count), dtype=np.float32)
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(joined, MEL_WINDOW_SAMPLES)[::MEL_HOP_SAMPLES]
            for start in range(0, count, _BLOCK_COLUMNS):
                stop = min(start + _BLOCK_COLUMNS, count)
                out[:, start:stop] = _columns(windows[start:stop])
        return out


def mel_spectrogram(wave: Float32) -> Float32:
    """Whole recording (n,) float32 at 16 kHz in [-1, 1] -> (80, 1 + n // 200) float32 in [-4, 4].

    Raises:
        AudioInvalid: the samples are not mono.
    """
    stream = StreamingMel()
    return np.concatenate([stream.push(wave), stream.flush()], axis=1)
