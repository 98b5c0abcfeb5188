"""A slow automatic gain for what is analysed: a quiet voice moves the lips as a loud one does.

    10 ms frames --> level of the loudest of late --> is it speech, once amplified? --> level of the voice --> gain

The networks learned from voices at usual levels, and so did the voice detector. A voice whose loudest frames reach
`LOUD_ENOUGH_DBFS` passes untouched, bit for bit; a quieter one is amplified. Noise is not: it is no speech to the voice
detector, or has the same level all the time. The sound that leaves a session is never changed.
"""

from collections import deque
from typing import Final

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from engine.audio.vad import VAD_FRAME_SAMPLES
from engine.timebase import SAMPLE_RATE_HZ

Float32 = NDArray[np.float32]

LOUD_ENOUGH_DBFS: Final = -30.0
"""Loudest frames of a voice that needs no gain. The bundled voice has -9, conversation into a headset -25 to -12."""

_AIM_DBFS = -15.0
# More would lift the noise of 16-bit recordings to the level of speech.
_MOST_GAIN_DB = 45.0
# The level falls by this much while nobody speaks as loud: a pause of seconds must not raise the gain.
_FALL_DB_A_FRAME = 0.02
# Of the last second, so many frames must be speech before their level counts. With a third of a second the breath and
# the room before the first word of 9 in 10 studio clips were taken for a quiet voice, and opened the mouth.
_WINDOW_FRAMES, _SPEECH_FRAMES = 100, 50
# Syllables rise and fall by far more within a second; white noise by 2 dB, hum by less.
_SPREAD_DB = 10.0
# Up by 30 dB a second until the first estimate is reached, then creeping, so that the lips do not pump; down at once.
_FIRST_STEP_DB, _STEP_DB = 0.3, 0.06
# Frames below are silence, and the sounds of a room whose loudest are below the second stay as they are.
_SILENT_DBFS, _FAINT_DBFS = -80.0, -62.0


class SpeechLevel:
    """Level of the voice in one stream of 16 kHz samples, from 10 ms frames.

    Attributes:
        dbfs: RMS of the loudest frames of speech of late; None until speech was heard.
    """

    def __init__(self, dbfs: float | None = None) -> None:
        self.dbfs = dbfs
        self._detector = webrtcvad.Vad(3)
        self._loudest = _SILENT_DBFS if dbfs is None else dbfs
        self._speech: deque[float | None] = deque(maxlen=_WINDOW_FRAMES)

    def push(self, frame: Float32) -> None:
        """Take one frame, (160,)."""
        power = float(np.dot(frame, frame)) / len(frame)
        level = 10.0 * np.log10(max(power, 1e-12))
        self._loudest = max(self._loudest - _FALL_DB_A_FRAME, level)
        gain = 10.0 ** (min(max(_AIM_DBFS - self._loudest, 0.0), _MOST_GAIN_DB) / 20.0)
        pcm = np.clip(np.rint(frame * np.float32(32768.0 * gain)), -32768, 32767).astype("<i2").tobytes()
        detected = level > _SILENT_DBFS and self._detector.is_speech(pcm, SAMPLE_RATE_HZ)
        self._speech.append(level if detected else None)
        levels = sorted(each for each in self._speech if each is not None)
        if len(levels) >= _SPEECH_FRAMES:
            tenth = len(levels) // 10
            if levels[-1 - tenth] - levels[tenth] >= _SPREAD_DB and self._loudest >= _FAINT_DBFS:
                self.dbfs = self._loudest


class AutomaticGain:
    """Amplifies one stream of 16 kHz samples, without delay; the same however it is cut.

    Args:
        level_dbfs: of the voice, where it is known from before; else the gain begins at none.
    """

    def __init__(self, level_dbfs: float | None = None) -> None:
        self.level = SpeechLevel(level_dbfs)
        self._gain_db = self._wanted_db()
        self._settled = self._gain_db > 0.0
        self._pending: list[Float32] = []
        self._filled = 0

    def push(self, wave: Float32) -> Float32:
        """Next samples (n,) in [-1, 1], amplified and clipped."""
        levelled, place = wave, 0
        while place < len(wave):
            stop = min(len(wave), place + VAD_FRAME_SAMPLES - self._filled)
            if self._gain_db > 0.0:
                levelled = wave.copy() if levelled is wave else levelled
                factor = np.float32(10.0 ** (self._gain_db / 20.0))
                levelled[place:stop] = np.clip(wave[place:stop] * factor, -1.0, 1.0)
            self._pending.append(wave[place:stop])
            self._filled += stop - place
            if self._filled == VAD_FRAME_SAMPLES:
                self._finish_frame()
            place = stop
        return levelled

    def _finish_frame(self) -> None:
        self.level.push(np.concatenate(self._pending))
        self._pending, self._filled = [], 0
        wanted = self._wanted_db()
        self._settled = self._settled or 0.0 < wanted <= self._gain_db
        step = _STEP_DB if self._settled else _FIRST_STEP_DB
        self._gain_db = min(wanted, self._gain_db + step)

    def _wanted_db(self) -> float:
        if self.level.dbfs is None or self.level.dbfs >= LOUD_ENOUGH_DBFS:
            return 0.0
        return min(_AIM_DBFS - self.level.dbfs, _MOST_GAIN_DB)
