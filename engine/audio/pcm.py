"""Whatever a caller hands in as audio becomes mono float32 in [-1, 1], or a named error."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import AudioInvalid

_MAX_CHANNELS = 64
# Decoders of lossy formats overshoot 1 a little; far above it somebody forgot to divide.
_MAX_PEAK = 16.0
_INTEGER_SCALE = {np.dtype(np.int16): 2.0**-15, np.dtype(np.int32): 2.0**-31}
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def to_mono_float(chunk: ArrayLike) -> NDArray[np.float32]:
    """As `to_float`, (n,): channels are averaged."""
    samples = to_float(chunk)
    return samples.mean(axis=1, dtype=np.float32) if samples.ndim == 2 else samples


def to_float(chunk: ArrayLike) -> NDArray[np.float32]:
    """int16, int32, float32 or float64 of shape (n,) or (n, channels) -> float32 of that shape in [-1, 1].

    Overshoot is clipped, n may be 0. Integers are divided by 2^15 or 2^31.

    Raises:
        AudioInvalid: another type or shape, NaN or infinity, floats that were never scaled to [-1, 1].
    """
    samples = np.asarray(chunk)
    # An empty list has no meaningful type; everything else must say what it is.
    if samples.size == 0 and samples.ndim == 1:
        return np.zeros(0, dtype=np.float32)
    if samples.dtype not in _INTEGER_SCALE and samples.dtype not in _FLOATS:
        raise AudioInvalid(f"samples must be int16, int32 or float32, got {samples.dtype}")
    if samples.ndim not in (1, 2):
        raise AudioInvalid(f"samples must have shape (n,) or (n, channels), got {samples.shape}")
    if samples.ndim == 2 and not 1 <= samples.shape[1] <= _MAX_CHANNELS:
        raise AudioInvalid(
            f"samples must have shape (n, channels) with 1 to {_MAX_CHANNELS} channels, got {samples.shape}; "
            "transpose the array if channels come first"
        )
    if samples.size == 0:
        return np.zeros(samples.shape, dtype=np.float32)
    if samples.dtype in _INTEGER_SCALE:
        floats = samples.astype(np.float32) * np.float32(_INTEGER_SCALE[samples.dtype])
    else:
        peak = float(np.max(np.abs(samples)))
        if not np.isfinite(peak):
            raise AudioInvalid("samples hold NaN or infinity")
        if peak > _MAX_PEAK:
            raise AudioInvalid(f"float samples must lie in [-1, 1], the peak is {peak:.6g}; divide them first")
        floats = samples.astype(np.float32)
    clipped: NDArray[np.float32] = floats.clip(-1.0, 1.0)
    return clipped
