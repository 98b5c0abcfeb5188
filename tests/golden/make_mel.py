"""Makes mel.npz: a synthetic signal and its mel spectrogram in float64 straight from the definitions.

No FFT, no streaming, no code of the engine: a bin is a sum over the window, a band a loop over its bins.
Run from the root of the repository: python tests/golden/make_mel.py
"""

from pathlib import Path

import numpy as np

RATE, HOP, WINDOW, BANDS = 16000, 200, 800, 80


def _slaney_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * np.exp(np.log(6.4) / 27 * (mel - 15))


def _slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + np.log(hz / 1000) * 27 / np.log(6.4)


def _mel(wave: np.ndarray) -> np.ndarray:
    emphasised = np.array([wave[n] - 0.97 * (wave[n - 1] if n else 0.0) for n in range(len(wave))])
    padded = np.concatenate([np.zeros(WINDOW // 2), emphasised, np.zeros(WINDOW // 2)])
    n = np.arange(WINDOW)
    hann = np.sin(np.pi * n / WINDOW) ** 2
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(WINDOW // 2 + 1), n) / WINDOW)
    edges = [_slaney_hz(m) for m in np.linspace(_slaney_mel(55), _slaney_mel(7600), BANDS + 2)]
    columns = []
    for start in range(0, len(wave) + 1, HOP):
        magnitude = np.abs(fourier @ (padded[start : start + WINDOW] * hann))
        column = []
        for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0.0
            for k, value in enumerate(magnitude):
                hz = k * RATE / WINDOW
                rise, fall = (hz - low) / (mid - low), (high - hz) / (high - mid)
                total += max(0.0, min(rise, fall)) * 2 / (high - low) * value
            column.append(np.clip(8 * (20 * np.log10(max(1e-5, total)) - 20 + 100) / 100 - 4, -4, 4))
        columns.append(column)
    return np.array(columns).T


def main() -> None:
    """Half a second: a voice-like buzz that glides, a burst of noise, silence."""
    time = np.arange(RATE // 2) / RATE
    pitch = np.cumsum(110 + 60 * time) / RATE
    buzz = sum(np.sin(2 * np.pi * h * pitch) / h for h in range(1, 30))
    noise = np.random.default_rng(7).standard_normal(len(time)) * (np.abs(time - 0.3) < 0.03)
    wave = (0.15 * buzz * (time < 0.25) + 0.05 * noise).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("mel.npz"), wave=wave, mel=_mel(wave.astype(np.float64)))


if __name__ == "__main__":
    main()
