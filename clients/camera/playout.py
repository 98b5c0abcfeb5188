"""The voice on its way to the speaker: held back until its frames are made. It is the master clock of the frames.

    microphone -- push -->  |======== held: about delay_ms ========|  -- pull --> speaker
                            pushed                              next

Places count samples of the microphone since its start. ``place_at`` says which place is heard at a moment, ``heard_at``
when a place will be, both from what was pulled and from when the sound card says that it will be heard.

Microphone and speaker have clocks of their own, so what is held slowly grows or shrinks; and the delay that frames
need is only known once they are made. Policy:

- held is more than 12 ms off (mean of about a second): 10 ms are left out, or said twice, in the next quiet place, at
  least half a second apart;
- held is more than 80 ms too much (the mean), or 250 ms (now): the oldest goes, with a cross-fade (``cut_ms``);
- nothing is held any more: silence until the whole delay is held again (``starved_ms``).

Frames that come late lengthen the delay (up to 600 ms), at once where they are late by more than 15 ms, and it
shrinks after ten seconds of room, by 10 to 60 ms.
"""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from clients.audio import Samples

_MAX_DELAY_MS = 600
_KEPT_S = 4.0
_TOLERANCE_MS, _SPLICE_MS, _FADE_MS = 12, 10, 5
_CUT_MS, _FLOOD_MS = 80, 250
_SPLICE_PAUSE_S = 0.5
_LEVEL_TIME_S = 1.0
_QUIET_RMS = 100.0
_MIN_DELAY_MS, _MOST_SHORTER_MS = 60, 60
_TOO_LATE_S, _MARGIN_S, _ROOMY_SLACK_S = 0.015, 0.010, 0.050
_WINDOW_FRAMES, _SETTLING_FRAMES = 250, 12
_KEPT_STRETCHES = 256


@dataclass(frozen=True, slots=True)
class _Stretch:
    """``length`` samples from ``place`` on that are heard from ``heard_s`` on; of length 0 while silence is played."""

    heard_s: float
    place: int
    length: int


class VoicePlayout:
    """Pushed by the microphone's thread, pulled by the speaker's, asked by the camera's.

    Attributes:
        cut_ms: audio left out because too much of it waited. starved_ms: silence played because there was none.
        spliced_ms: sum of the corrections in quiet places, left out (+) or said twice (-).
    """

    def __init__(self, rate_hz: int, delay_ms: float) -> None:
        self.rate_hz = rate_hz
        self.cut_ms = 0.0
        self.starved_ms = 0.0
        self.spliced_ms = 0.0
        self._lock = threading.Lock()
        self._target = self._samples(min(delay_ms, _MAX_DELAY_MS))
        self._ring = np.zeros(round(_KEPT_S * rate_hz), np.int16)
        self._pushed = 0
        self._next = 0
        self._waiting = True
        self._started = False
        self._level = float(self._target)
        self._since_splice = 0
        self._stretches: deque[_Stretch] = deque(maxlen=_KEPT_STRETCHES)
        self._worst_slack_s = float("inf")
        self._frames = 0
        self._settling = 0

    @property
    def delay_ms(self) -> float:
        """How long the voice is held back here."""
        return 1e3 * self._target / self.rate_hz

    @property
    def held_ms(self) -> float:
        """How much is held at this moment."""
        return 1e3 * (self._pushed - self._next) / self.rate_hz

    def push(self, samples: Samples) -> None:
        """Take int16 (n,) from the microphone."""
        with self._lock:
            kept = samples[-len(self._ring) :]
            places = np.arange(self._pushed + len(samples) - len(kept), self._pushed + len(samples))
            self._ring[places % len(self._ring)] = kept
            self._pushed += len(samples)

    def pull(self, count: int, heard_s: float) -> Samples:
        """The next ``count`` samples for the speaker; the first is heard at ``heard_s``."""
        with self._lock:
            held = self._pushed - self._next
            if self._waiting and held >= self._target:
                self._resume()
            if not self._waiting and held < count:
                self._waiting = True
            if self._waiting:
                if self._started:
                    self.starved_ms += 1e3 * count / self.rate_hz
                self._stretches.append(_Stretch(heard_s, self._next, 0))
                return np.zeros(count, np.int16)
            self._level += (held - self._level) * min(1.0, count / self.rate_hz / _LEVEL_TIME_S)
            self._since_splice += count
            out = self._read(self._next, count)
            shift = self._shift(out, held, count)
            if shift:
                out = self._faded(out, self._next + shift, count)
                self._next += shift
                self._level -= shift
            self._stretches.append(_Stretch(heard_s, self._next, count))
            self._next += count
            return out

    def place_at(self, now_s: float) -> int | None:
        """The place that is heard at ``now_s``; None before the first."""
        with self._lock:
            for stretch in reversed(self._stretches):
                if stretch.heard_s <= now_s:
                    passed = int((now_s - stretch.heard_s) * self.rate_hz)
                    return stretch.place + min(passed, stretch.length)
            return None

    def heard_at(self, place: int) -> float | None:
        """When ``place`` is heard, also if it was not pulled yet; None while silence is played in its stead."""
        with self._lock:
            if not self._stretches or self._stretches[-1].length == 0:
                return None
            for stretch in reversed(self._stretches):
                if stretch.place <= place and stretch.length:
                    return stretch.heard_s + (place - stretch.place) / self.rate_hz
            return self._stretches[0].heard_s

    def note_frame(self, slack_s: float) -> None:
        """A frame was ready to be sent so long before its voice is heard; the delay follows the worst."""
        with self._lock:
            self._settling = max(0, self._settling - 1)
            if self._settling or self._waiting:
                return
            # What the delay itself gives: less is held at this moment than it asks for, if the microphone is slow.
            lacking_s = (self._target - (self._pushed - self._next)) / self.rate_hz
            settled_s = slack_s + max(0.0, lacking_s)
            if settled_s < 0.0:
                longer = self._target + round((_MARGIN_S - settled_s) * self.rate_hz)
                self._target = min(longer, self._samples(_MAX_DELAY_MS))
                self._settling = _SETTLING_FRAMES
            if slack_s < -_TOO_LATE_S:
                self._waiting = True
                self._settling = _SETTLING_FRAMES
            self._frames += 1
            self._worst_slack_s = min(self._worst_slack_s, settled_s)
            if self._frames < _WINDOW_FRAMES:
                return
            room = round((self._worst_slack_s - _ROOMY_SLACK_S) * self.rate_hz)
            if room > 0:
                less = min(max(room // 2, self._samples(_SPLICE_MS)), self._samples(_MOST_SHORTER_MS))
                self._target = max(self._target - less, self._samples(_MIN_DELAY_MS))
            self._frames, self._worst_slack_s = 0, float("inf")

    def _resume(self) -> None:
        self._waiting, self._started = False, True
        self._next = max(self._next, self._pushed - self._target)
        self._level = float(self._pushed - self._next)

    def _shift(self, out: Samples, held: int, count: int) -> int:
        """By how many samples to go on (+) or back (-) now."""
        excess = min(self._level, held) - self._target
        if excess > self._samples(_CUT_MS) or held - self._target > self._samples(_FLOOD_MS):
            cut = min(held - self._target, held - count)
            self.cut_ms += 1e3 * cut / self.rate_hz
            self._level = float(held)
            return cut
        if abs(self._level - self._target) <= self._samples(_TOLERANCE_MS):
            return 0
        splice = self._samples(_SPLICE_MS)
        rested = self._since_splice > _SPLICE_PAUSE_S * self.rate_hz
        if not rested or float(np.sqrt(np.mean(np.square(out, dtype=np.float32)))) > _QUIET_RMS:
            return 0
        shift = splice if self._level > self._target else -splice
        if shift > held - count or self._next + shift < max(0, self._pushed - len(self._ring)):
            return 0
        self._since_splice = 0
        self.spliced_ms += 1e3 * shift / self.rate_hz
        return shift

    def _faded(self, old: Samples, place: int, count: int) -> Samples:
        """``count`` samples from ``place`` on, begun with a fade from ``old``."""
        new = self._read(place, count).astype(np.float32)
        length = min(count, self._samples(_FADE_MS))
        weight = np.linspace(0.0, 1.0, length, dtype=np.float32)
        new[:length] = weight * new[:length] + (1 - weight) * old[:length]
        return np.rint(new).astype(np.int16)

    def _read(self, place: int, count: int) -> Samples:
        return self._ring[np.arange(place, place + count) % len(self._ring)]

    def _samples(self, milliseconds: float) -> int:
        return round(milliseconds * self.rate_hz / 1e3)
