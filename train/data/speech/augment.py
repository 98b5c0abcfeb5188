"""Augmentation of speech: the same words from other voices, rooms, levels and telephone lines.

Waves are changed once, at preparation, into a few variants of each clip; mels are changed anew in every batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.timebase import SAMPLE_RATE_HZ
from train.data.resample import resample

FloatArray = NDArray[np.float32]
_MEL_PER_DECIBEL = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveAugmentation:
    """Ranges of the changes to a wave, each drawn uniformly.

    Attributes:
        speed: playing faster or slower, pitch going along (the motion is resampled by the same factor).
        noise_snr_db: coloured noise under the speech.
        room_probability, room_decay_s: an exponentially decaying noise tail (T60) after a direct path.
        telephone_probability: band of 300 to 3400 Hz.
        level_db: gain.
    """

    speed: tuple[float, float] = (0.86, 1.16)
    noise_probability: float = 0.6
    noise_snr_db: tuple[float, float] = (5.0, 35.0)
    room_probability: float = 0.4
    room_decay_s: tuple[float, float] = (0.1, 0.5)
    telephone_probability: float = 0.15
    level_db: tuple[float, float] = (-18.0, 6.0)


def augment_wave(
    wave: FloatArray, rng: np.random.Generator, config: WaveAugmentation | None = None
) -> tuple[FloatArray, float]:
    """Draw one variant of a wave.

    Args:
        wave: float32 (n,) at 16 kHz in [-1,1].

    Returns:
        float32 (m,) in [-1,1] and the speed: second s of the input is second s / speed of the output.
    """
    config = config or WaveAugmentation()
    speed = float(rng.uniform(*config.speed))
    out = resample(wave, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ)
    if rng.random() < config.room_probability:
        out = _room(out, float(rng.uniform(*config.room_decay_s)), rng)
    if rng.random() < config.noise_probability:
        out = _noise(out, float(rng.uniform(*config.noise_snr_db)), rng)
    if rng.random() < config.telephone_probability:
        out = _band(out, 300.0, 3400.0)
    out = out * np.float32(10 ** (rng.uniform(*config.level_db) / 20))
    return np.clip(out, -1.0, 1.0).astype(np.float32), speed


def _room(wave: FloatArray, decay_s: float, rng: np.random.Generator) -> FloatArray:
    length = int(decay_s * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= rng.uniform(0.1, 0.5) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = len(wave) + length
    wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size)[: len(wave)]
    return wet.astype(np.float32)


def _noise(wave: FloatArray, snr_db: float, rng: np.random.Generator) -> FloatArray:
    spectrum = np.fft.rfft(rng.standard_normal(len(wave)))
    slope = rng.uniform(0.0, 1.0)
    spectrum /= np.maximum(np.arange(len(spectrum)), 20.0) ** slope
    noise = np.fft.irfft(spectrum, len(wave))
    power = float((wave**2).mean()) + 1e-9
    noise *= np.sqrt(power / 10 ** (snr_db / 10) / ((noise**2).mean() + 1e-12))
    return (wave + noise).astype(np.float32)


def _band(wave: FloatArray, low_hz: float, high_hz: float) -> FloatArray:
    spectrum = np.fft.rfft(wave)
    frequency = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE_HZ)
    gain = 1 / (1 + (low_hz / np.maximum(frequency, 1.0)) ** 8) / (1 + (frequency / high_hz) ** 16)
    return np.fft.irfft(spectrum * gain, len(wave)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelAugmentation:
    """Ranges of the changes to a mel window: voice (frequency warp), level, tilt, and masks.

    ``mask_bands`` and ``mask_columns`` are the widest masks; masked places get the window's mean.
    """

    warp: float = 0.1
    level_db: float = 6.0
    tilt_db: float = 6.0
    noise: float = 0.05
    mask_probability: float = 0.5
    mask_bands: int = 12
    mask_columns: int = 3


def augment_mel(mel_NFW: Tensor, generator: torch.Generator, config: MelAugmentation | None = None) -> Tensor:
    """Change each mel window of a batch on its own.

    Args:
        mel_NFW: float32 (N, 80, W) in [-4, 4].

    Returns:
        float32 (N, 80, W) in [-4, 4]. Cells at the floor of -4 stay near it: silence stays silent.
    """
    config = config or MelAugmentation()
    count, bands, columns = mel_NFW.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    place = torch.linspace(0, 1, bands)
    source = (place * (1 + config.warp * uniform(count, 1)) * (bands - 1)).clamp(0, bands - 1)
    low = source.floor().long().clamp(max=bands - 2)
    part = (source - low).unsqueeze(-1)
    index = low.unsqueeze(-1).expand(-1, -1, columns)
    out = torch.gather(mel_NFW, 1, index) * (1 - part) + torch.gather(mel_NFW, 1, index + 1) * part
    gain_db = config.level_db * uniform(count, 1, 1) + config.tilt_db * uniform(count, 1, 1) * (place - 0.5).view(
        1, -1, 1
    )
    audible = ((out + 4) / 0.8).clamp(0, 1)
    out = out + _MEL_PER_DECIBEL * gain_db * audible
    out = out + config.noise * torch.randn(out.shape, generator=generator)
    mean = out.mean((1, 2), keepdim=True)
    for dim, width in ((1, config.mask_bands), (2, config.mask_columns)):
        size = out.shape[dim]
        start = (torch.rand((count, 1), generator=generator) * size).long()
        length = (torch.rand((count, 1), generator=generator) * (width + 1)).long()
        length = length * (torch.rand((count, 1), generator=generator) < config.mask_probability)
        position = torch.arange(size).view(1, -1)
        masked = (position >= start) & (position < start + length)
        out = torch.where(masked.unsqueeze(2 if dim == 1 else 1), mean, out)
    return out.clamp(-4.0, 4.0)
