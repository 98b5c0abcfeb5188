"""Any sample rate to 16 kHz, in a stream, with 2 ms of delay.

A windowed-sinc low-pass in polyphase form. With rate / 16000 = M / L in lowest terms, output k lies at input
position k M / L; its whole part picks the inputs, its fraction one of L sets of taps:

    inputs    .  .  .  .  .  .  .  .  .  .  .  .
              [------ 2 ms ----- k ----- 2 ms -----]      taps of phase (k M mod L)

So output k is at the very time of its inputs (no net delay), needs 2 ms of future, and is the same number
however the input was cut. FFT resamplers need whole blocks: soxr 1.1 held back up to 37 ms from 48 kHz at its
HQ setting, 20 ms at LQ, 115 ms from 8 kHz, which a live session cannot spend.

Filter: Kaiser window for 70 dB over 4 ms, which gives a transition of 1080 Hz (Kaiser 1974), centred at 0.985
of the lower Nyquist rate. From 48 kHz, what folds back stays above 7.6 kHz, outside the mel bands.
"""

from fractions import Fraction
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from engine.errors import AudioInvalid
from engine.timebase import SAMPLE_RATE_HZ

Float32 = NDArray[np.float32]

MIN_RATE_HZ = 8_000
MAX_RATE_HZ = 192_000
_HALF_WIDTH_S = 0.002
_CUTOFF = 0.985
_KAISER_BETA = 6.76
# Rates that share no factor with 16 kHz would need up to 16 000 sets of taps. Rounding the fraction to 1/1024
# of an input sample costs noise below -80 dB at 1 kHz.
_MAX_PHASES = 1024
_BLOCK = 4096


class StreamingResampler:
    """Mono float32 at `source_rate_hz` (8000 to 192 000) -> 16 kHz. One object per stream.

    Joining all answers of `push` and `flush` gives round(n * 16000 / source_rate_hz) samples, bit-equal for
    any chunking. At 16 kHz the samples pass untouched.

    Raises:
        AudioInvalid: a rate outside the range, or chunks that are not mono float32.
    """

    def __init__(self, source_rate_hz: int) -> None:
        if source_rate_hz != int(source_rate_hz) or not MIN_RATE_HZ <= source_rate_hz <= MAX_RATE_HZ:
            raise AudioInvalid(f"the sample rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, got {source_rate_hz}")
        rate = int(source_rate_hz)
        factor = gcd(rate, SAMPLE_RATE_HZ)
        self.source_rate_hz = rate
        self._up, self._down = SAMPLE_RATE_HZ // factor, rate // factor
        self._half = 0 if rate == SAMPLE_RATE_HZ else ceil(_HALF_WIDTH_S * rate)
        self._taps = _tap_table(rate, self._half, min(self._up, _MAX_PHASES))
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Most 16 kHz samples that `push` still holds back = the future that an output needs."""
        return ceil(self._half * self._up / self._down)

    def reset(self) -> None:
        """Start a new stream."""
        self._pushed = 0
        self._emitted = 0
        # Input i of the stream is at `i - self._first` here; the stream is preceded by silence.
        self._first = 1 - self._half
        self._pending = np.zeros(max(0, self._half - 1), dtype=np.float32)

    def push(self, chunk: Float32) -> Float32:
        """Next inputs (n,), any n -> the outputs (k,) that are now final."""
        if chunk.ndim != 1 or chunk.dtype != np.float32:
            raise AudioInvalid(f"resampling takes mono float32, got {chunk.dtype} {chunk.shape}")
        self._pushed += len(chunk)
        if self._half == 0:
            return chunk.copy()
        return self._advance(chunk, ceil(max(0, self._pushed - self._half) * self._up / self._down))

    def flush(self) -> Float32:
        """End of the stream: the outputs still held back. Then the object is as new."""
        total = round(Fraction(self._pushed * self._up, self._down))
        silence = np.zeros(2 * self._half, dtype=np.float32)
        tail = self._advance(silence, total) if self._half else silence
        self.reset()
        return tail

    def _advance(self, chunk: Float32, until: int) -> Float32:
        inputs = np.concatenate([self._pending, chunk])
        out = np.empty(max(0, until - self._emitted), dtype=np.float32)
        for start in range(0, len(out), _BLOCK):
            stop = min(start + _BLOCK, len(out))
            out[start:stop] = self._convolve(inputs, self._emitted + start, self._emitted + stop)
        self._emitted += len(out)
        # first input of the next output's window
        needed = self._emitted * self._down // self._up - self._half + 1 - self._first
        self._pending = inputs[max(0, needed) :]
        self._first += max(0, needed)
        return out

    def _convolve(self, inputs: Float32, start: int, stop: int) -> Float32:
        position = np.arange(start, stop, dtype=np.int64) * self._down
        whole, fraction = np.divmod(position, self._up)
        phases = len(self._taps) - 1
        phase = (2 * fraction * phases + self._up) // (2 * self._up)
        windows = np.lib.stride_tricks.sliding_window_view(inputs, 2 * self._half)
        rows = windows[whole - self._half + 1 - self._first]
        # einsum adds each row by itself in a fixed order, so the cut of the chunks cannot show in the result.
        out: Float32 = np.einsum("nt,nt->n", rows, self._taps[phase])
        return out


def _tap_table(rate_hz: int, half: int, phases: int) -> Float32:
    """Taps for input offsets 1 - half .. half at the fractions 0, 1 / phases .. 1: (phases + 1, 2 half)."""
    offset = np.arange(1 - half, half + 1) - np.arange(phases + 1)[:, None] / phases
    cutoff_hz = _CUTOFF * min(rate_hz, SAMPLE_RATE_HZ) / 2
    inside = np.clip(1.0 - (offset / max(half, 1)) ** 2, 0.0, None)
    kaiser = np.i0(_KAISER_BETA * np.sqrt(inside)) / np.i0(_KAISER_BETA)
    taps = np.sinc(2 * cutoff_hz / rate_hz * offset) * kaiser
    # every phase passes a constant unchanged
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32) if half else taps.astype(np.float32)
