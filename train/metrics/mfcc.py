"""Mel frequency cepstra as SyncNet was trained on: 13 a column, a column every 10 ms, 16 kHz, 16-bit scale.

    wave -> pre-emphasis 0.97 -> windows of 25 ms, no taper -> power spectrum (512) -> 26 triangular mel filters
         -> log -> orthonormal DCT-II, first 13 -> lifter 22 -> first one replaced by the log of the window's energy

The definition is that of the python_speech_features package (its defaults), which SyncNet's evaluation uses.
"""

import math

import numpy as np
from numpy.typing import NDArray

from engine.timebase import SAMPLE_RATE_HZ

MFCC_SIZE = 13

_WINDOW_SAMPLES, _HOP_SAMPLES, _FFT_SIZE = 400, 160, 512
_FILTERS, _LIFTER, _PRE_EMPHASIS = 26, 22, 0.97
_INT16_SCALE = 32768.0
_FLOOR = np.finfo(np.float64).eps


def mfcc(wave: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cepstra of a wave.

    Args:
        wave: float (n,) in [-1, 1] at 16 kHz.

    Returns:
        float32 (13, columns); column j covers samples 160 j .. 160 j + 399, the last one padded with zeros.

    Raises:
        ValueError: an empty wave, or one with several channels.
    """
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"mfcc needs a wave (n,), not an array {wave.shape}")
    samples = wave.astype(np.float64) * _INT16_SCALE
    emphasised = np.append(samples[0], samples[1:] - _PRE_EMPHASIS * samples[:-1])
    columns = 1 + max(0, math.ceil((len(samples) - _WINDOW_SAMPLES) / _HOP_SAMPLES))
    padded = np.zeros((columns - 1) * _HOP_SAMPLES + _WINDOW_SAMPLES)
    padded[: len(emphasised)] = emphasised[: len(padded)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES)[::_HOP_SAMPLES]
    power = np.square(np.abs(np.fft.rfft(windows, _FFT_SIZE))) / _FFT_SIZE
    energy, bands = power.sum(1), power @ _filters().T
    cepstra = np.log(np.where(bands == 0, _FLOOR, bands)) @ _cosines().T
    cepstra *= 1 + _LIFTER / 2 * np.sin(np.pi * np.arange(MFCC_SIZE) / _LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, _FLOOR, energy))
    return np.ascontiguousarray(cepstra.T, dtype=np.float32)


def _filters() -> NDArray[np.float64]:
    """Triangles (26, 257) between 28 points evenly spaced in mel over 0 .. 8 kHz, on whole FFT bins."""
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    points_hz = 700 * (10 ** (np.linspace(0, top_mel, _FILTERS + 2) / 2595) - 1)
    bins = np.floor((_FFT_SIZE + 1) * points_hz / SAMPLE_RATE_HZ)
    place = np.arange(_FFT_SIZE // 2 + 1)
    low, middle, high = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    rising = (place - low) / np.maximum(middle - low, 1)
    falling = (high - place) / np.maximum(high - middle, 1)
    triangles = np.where(place < middle, rising, falling)
    return np.where((place >= low) & (place < high), triangles, 0.0)


def _cosines() -> NDArray[np.float64]:
    """Orthonormal DCT-II (13, 26)."""
    order = np.arange(MFCC_SIZE)[:, None]
    matrix = np.sqrt(2 / _FILTERS) * np.cos(np.pi * order * (2 * np.arange(_FILTERS) + 1) / (2 * _FILTERS))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)
