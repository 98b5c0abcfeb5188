"""Is somebody speaking: webrtcvad with hysteresis, one answer per 10 ms.

    detector  . . # # # # # # # # # # . . # . . . . . . .
    answer    . . . . # # # # # # # # # # # # # . . . . .       on after 3 of 5, off after 3 in a row

webrtcvad (the GMM detector of WebRTC) itself holds on for up to 9 frames after speech, so few of our own are
needed. Frames below a floor of level never count: digital silence is never speech.
"""

from collections import deque

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from engine.timebase import SAMPLE_RATE_HZ

Float32 = NDArray[np.float32]

VAD_FRAME_SAMPLES = SAMPLE_RATE_HZ // 100


class VoiceActivity:
    """Speech detector of one stream of 16 kHz samples.

    Args:
        aggressiveness: 0 to 3 of webrtcvad; higher takes less for speech.
        onset_frames: frames of speech, among the last `onset_frames + 2`, that switch on.
        release_frames: frames without speech in a row that switch off.
        floor_dbfs: frames with a lower RMS level are never speech.
    """

    def __init__(
        self,
        aggressiveness: int = 2,
        onset_frames: int = 3,
        release_frames: int = 3,
        floor_dbfs: float = -55.0,
    ) -> None:
        if not 0 <= aggressiveness <= 3 or onset_frames < 1 or release_frames < 1:
            raise ValueError("aggressiveness must be 0 to 3, onset_frames and release_frames at least 1")
        self._aggressiveness = aggressiveness
        self._onset_frames = onset_frames
        self._release_frames = release_frames
        self._floor_power = 10.0 ** (floor_dbfs / 10.0)
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._detector = webrtcvad.Vad(self._aggressiveness)
        self._recent: deque[bool] = deque(maxlen=self._onset_frames + 2)
        self._quiet_frames = 0
        self._speaking = False
        self._pending = np.zeros(0, dtype=np.float32)

    @property
    def speaking(self) -> bool:
        """The newest answer."""
        return self._speaking

    def push(self, wave: Float32) -> list[bool]:
        """Next samples (n,) in [-1, 1], any n -> one answer per 10 ms now complete."""
        joined = np.concatenate([self._pending, wave])
        whole = len(joined) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES
        self._pending = joined[whole:]
        return [self._decide(frame) for frame in joined[:whole].reshape(-1, VAD_FRAME_SAMPLES)]

    def _decide(self, frame: Float32) -> bool:
        # The detector sees every frame, so that its noise model keeps up.
        pcm = np.clip(np.rint(frame * 32768.0), -32768, 32767).astype("<i2").tobytes()
        detected = bool(self._detector.is_speech(pcm, SAMPLE_RATE_HZ))
        voiced = detected and float(np.dot(frame, frame)) / len(frame) >= self._floor_power
        self._recent.append(voiced)
        self._quiet_frames = 0 if voiced else self._quiet_frames + 1
        if self._speaking:
            self._speaking = self._quiet_frames < self._release_frames
        else:
            self._speaking = voiced and sum(self._recent) >= self._onset_frames
        if not self._speaking and self._quiet_frames >= self._release_frames:
            self._recent.clear()
        return self._speaking
