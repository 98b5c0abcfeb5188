"""One channel of many, of which nothing is lost: their mean, or the loudest where the mean cancels the voice out.

Channels in opposite phase (a crossed cable, a wide microphone) add up to nothing, and a voice in one channel of many to
little. Only what is analysed is mixed so; the sound that leaves is the user's own.
"""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_BLOCKS_A_SECOND = 50
# Half a second: longer than a syllable, so that one block of noise changes nothing.
_MEMORY_BLOCKS = 25
# Power of the mean over that of the loudest channel, below which that channel alone is taken, and above which the mean
# again. Uncorrelated stereo has 1/2, a voice in one channel of two 1/4: both keep the mean.
_CANCELLED, _SOUND = 0.2, 0.4
# How much louder another channel must be than the chosen one to take its place, and what is nothing at all.
_LOUDER, _SILENT_POWER = 4.0, 1e-9


class StreamingDownmix:
    """Mixes one stream. What it has decided follows the number of samples alone, not how they were cut."""

    def __init__(self) -> None:
        self._start(0, 0)

    def push(self, samples: Float32, sample_rate_hz: int) -> Float32:
        """Next samples (n, channels) -> (n,)."""
        channels = samples.shape[1]
        if (channels, sample_rate_hz) != (self._channels, self._rate):
            self._start(channels, sample_rate_hz)
        if channels == 1:
            return samples[:, 0]
        mixed = np.empty(len(samples), np.float32)
        place = 0
        while place < len(samples):
            stop = min(len(samples), place + self._block - self._filled)
            part = samples[place:stop]
            mean = part.mean(axis=1, dtype=np.float32)
            mixed[place:stop] = mean if self._chosen is None else part[:, self._chosen]
            self._power += np.square(part, dtype=np.float64).sum(0)
            self._mean_power += float(np.square(mean, dtype=np.float64).sum())
            self._filled += stop - place
            if self._filled == self._block:
                self._decide()
            place = stop
        return mixed

    def _start(self, channels: int, rate: int) -> None:
        self._channels, self._rate = channels, rate
        self._block = max(1, rate // _BLOCKS_A_SECOND)
        self._filled = 0
        self._power, self._mean_power = np.zeros(channels), 0.0
        self._remembered, self._remembered_mean = np.zeros(channels), 0.0
        self._chosen: int | None = None

    def _decide(self) -> None:
        keep = 1.0 - 1.0 / _MEMORY_BLOCKS
        self._remembered = keep * self._remembered + self._power
        self._remembered_mean = keep * self._remembered_mean + self._mean_power
        self._filled, self._power, self._mean_power = 0, np.zeros(self._channels), 0.0
        loudest = int(self._remembered.argmax())
        power = float(self._remembered[loudest])
        if power < _SILENT_POWER:
            return
        share = self._remembered_mean / power
        if self._chosen is None:
            self._chosen = loudest if share < _CANCELLED else None
        elif share > _SOUND:
            self._chosen = None
        elif power > _LOUDER * self._remembered[self._chosen]:
            self._chosen = loudest
