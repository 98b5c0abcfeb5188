"""What benchmarks push: the demo face and voice, and beeps that can be found again in what comes back."""

import cv2
import numpy as np
import numpy.typing as npt

from engine.assets import PORTRAIT, VOICE
from engine.media import read_audio
from engine.portrait import load_image
from engine.timebase import SAMPLE_RATE_HZ

BEEP_RATE_HZ = 48_000

_BEEP_S = 0.1
_LEVEL = 0.8
_LOUD = 0.3


def demo_voice(seconds: float) -> npt.NDArray[np.float32]:
    """The demo voice, float32 (n,) at 16 kHz, repeated to ``seconds``."""
    voice = np.concatenate([chunk for chunk, _ in read_audio(VOICE)]).reshape(-1)
    return np.resize(voice, int(seconds * SAMPLE_RATE_HZ)).astype(np.float32)


def demo_voice_int16(seconds: float) -> npt.NDArray[np.int16]:
    """The demo voice, int16 (n,) at 48 kHz, as a microphone gives it."""
    return np.repeat((32767 * demo_voice(seconds)).clip(-32768, 32767).astype(np.int16), 3)


def beeping_wave(seconds: float) -> tuple[npt.NDArray[np.int16], list[float]]:
    """Beeps of a tenth of a second, about one every second, and where (s) each begins; int16 (n,) at 48 kHz.

    They begin anywhere within a frame of 40 ms and a block of 20 ms, and at once at full level.
    """
    rng = np.random.default_rng(0)
    wave = np.zeros(round(seconds * BEEP_RATE_HZ), np.int16)
    onsets_s = []
    at_s = 1.5
    while at_s + _BEEP_S < seconds:
        begin = round(at_s * BEEP_RATE_HZ)
        time_s = np.arange(round(_BEEP_S * BEEP_RATE_HZ)) / BEEP_RATE_HZ
        wave[begin : begin + len(time_s)] = 32767 * _LEVEL * np.sin(2 * np.pi * 500 * time_s + np.pi / 2)
        onsets_s.append(begin / BEEP_RATE_HZ)
        at_s += float(rng.uniform(0.8, 1.2))
    return wave, onsets_s


def find_beeps(wave: npt.NDArray[np.int16]) -> list[int]:
    """The first sample of each beep in int16 (n,) at 48 kHz."""
    loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > _LOUD * 32767)
    if not len(loud):
        return []
    return [int(at) for at in loud[np.concatenate([[True], np.diff(loud) > BEEP_RATE_HZ // 5])]]


def demo_portrait(size: int) -> npt.NDArray[np.uint8]:
    """The demo portrait, uint8 (H, W, 3), enlarged until its head fills frames of ``size`` pixels."""
    rgb = load_image(PORTRAIT)
    factor = max(1.0, 2.0 * size / rgb.shape[0])
    return np.asarray(cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
