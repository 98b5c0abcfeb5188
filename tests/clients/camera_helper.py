"""Sound cards, cameras and time that are not there: a whole `gohd camera` in one thread, by a clock of its own.

A bench has four clocks that need not agree: its own, the microphone's, the speaker's, and how long the engine takes.
Every second the voice beeps for 40 ms at the start of a frame, and the fake engine makes that frame white.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from clients.audio import AudioDevice, Fill, Hear
from clients.camera import Compositor, LiveCamera
from engine.postprocess import WatermarkConfig
from server.live.block import BLOCK_MS
from tests.fake_engine import FakeSession
from tests.steerable_clock import SteerableClock

RATE_HZ = 48_000
BLOCK = RATE_HZ * BLOCK_MS // 1000
LOUD = 20_000


class FakeCamera:
    def __init__(self, now_s: Callable[[], float]) -> None:
        self.name = "/dev/video9"
        self.sent: list[tuple[float, bool, int]] = []
        self.closed = False
        self._now_s = now_s

    def send(self, rgb: npt.NDArray[np.uint8]) -> None:
        # The fake engine darkens the left of its frames.
        brightest = int(rgb[rgb.shape[0] // 2].max())
        self.sent.append((self._now_s(), brightest > 200, brightest))

    def close(self) -> None:
        self.closed = True

    def flashes_s(self) -> list[float]:
        moments = [self.sent[0][:2], *(entry[:2] for entry in self.sent)]
        return [now for (_, before), (now, white) in pairwise(moments) if white and not before]


class _PlainCanvas(Compositor):
    """Without the mark and the scaling, which say nothing about time."""

    def __init__(self) -> None:
        super().__init__(128, 128, WatermarkConfig())

    def compose(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return rgb


def beeping_voice(seconds: float) -> npt.NDArray[np.int16]:
    wave = np.zeros(round(seconds * RATE_HZ), np.int16)
    for second in range(1, int(seconds)):
        # An odd frame, so that no block boundary of the bench is hit by chance.
        begin = second * RATE_HZ + 7 * RATE_HZ // 25
        wave[begin : begin + RATE_HZ // 25] = LOUD
    return wave


@dataclass
class Bench:
    """``speed`` is how fast a device's clock runs against the bench's; ``render_s`` what a block costs the engine."""

    seconds: float
    microphone_speed: float = 1.0
    speaker_speed: float = 1.0
    speaker_latency_s: float = 0.030
    speaks: bool = True
    render_s: Callable[[float], float] = lambda _: 0.008
    jitter_s: float = 0.004
    silent_between_s: tuple[float, float] = (0.0, 0.0)
    voice: npt.NDArray[np.int16] | None = None
    session: Any = field(default_factory=lambda: FakeSession(avatar=None, render_s=0.0))
    played: list[tuple[float, npt.NDArray[np.int16]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SteerableClock()
        self.camera = FakeCamera(self.clock.now_s)
        self.live = LiveCamera(
            self.session,
            self.camera,
            _PlainCanvas(),
            self.clock,
            rate_hz=RATE_HZ,
            speaks=self.speaks,
        )
        self.longest_queue = 0
        self.held_ms: list[tuple[float, float]] = []
        self._voice = beeping_voice(self.seconds * self.microphone_speed + 2) if self.voice is None else self.voice
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._random = np.random.default_rng(5)
        self._start_s = self.clock.now_s()
        self._block = 0
        self._callbacks = 0

    def run(self) -> Bench:
        self._at(0.0, self._microphone)
        self._at(0.003, self._speaker)
        self._at(0.001, self._engine)
        self._at(0.002, self._image)
        while self._events and self._events[0][0] < self._start_s + self.seconds:
            due_s, _, call = heapq.heappop(self._events)
            self.clock.advance_to(due_s)
            call()
        return self

    @property
    def passed_s(self) -> float:
        return self.clock.now_s() - self._start_s

    def beeps_s(self) -> list[float]:
        """When each beep is heard, at the moment of its first loud sample."""
        found = []
        before = False
        for begin_s, samples in self.played:
            loud = np.abs(samples) > LOUD // 2
            edges = np.flatnonzero(loud & ~np.concatenate([[before], loud[:-1]]))
            found += [begin_s + int(edge) / RATE_HZ / self.speaker_speed for edge in edges]
            before = bool(loud[-1])
        return found

    def skews_ms(self, after_s: float = 0.0) -> list[float]:
        """How much later than its beep each flash is seen; those without a partner near them are left out."""
        skews = []
        for flash_s in self.camera.flashes_s():
            beep_s = min(self.beeps_s(), key=lambda beep_s: abs(beep_s - flash_s))
            if flash_s - self._start_s >= after_s and abs(flash_s - beep_s) < 0.3:
                skews.append(1e3 * (flash_s - beep_s))
        return skews

    def _at(self, passed_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._start_s + passed_s, next(self._order), call))

    def _jitter(self) -> float:
        return float(self._random.uniform(0.0, self.jitter_s))

    def _microphone(self) -> None:
        if not self.silent_between_s[0] <= self.passed_s < self.silent_between_s[1]:
            block = self._voice[self._block * BLOCK : (self._block + 1) * BLOCK]
            if len(block) == BLOCK:
                self.live.hear(block)
        self._block += 1
        self._at((self._block * BLOCK / RATE_HZ) / self.microphone_speed + self._jitter(), self._microphone)

    def _speaker(self) -> None:
        if not self.speaks:
            return
        # The card knows when a block is heard, however late its thread asks for it.
        heard_s = self._start_s + self.speaker_latency_s + self._callbacks * BLOCK / RATE_HZ / self.speaker_speed
        samples = self.live.speak(BLOCK, heard_s - self.clock.now_s())
        self.played.append((heard_s, samples))
        self.held_ms.append((self.passed_s, self.live.playout.held_ms))
        self._callbacks += 1
        self._at(self._callbacks * BLOCK / RATE_HZ / self.speaker_speed + self._jitter(), self._speaker)

    def _engine(self) -> None:
        worked = self.live.worker.step()
        self._at(self.passed_s + (self.render_s(self.passed_s) if worked else 0.001), self._engine)

    def _image(self) -> None:
        wake_s = self.live.turn()
        self._at(max(wake_s - self._start_s, self.passed_s) + self._jitter() / 4 + 1e-4, self._image)


class FakeAudio:
    """An audio library whose devices are made up. With ``beats`` its streams really call back, on threads."""

    name = "fake"

    def __init__(self, devices: list[AudioDevice], *, rates_hz: tuple[int, ...] = (48_000,), fault: Any = None) -> None:
        self._devices = devices
        self._rates_hz = rates_hz
        self._fault = fault
        self.streams: list[FakeStream] = []
        self.opened: list[tuple[str, str, int]] = []
        self.closed = False
        self.voice = np.full(BLOCK, 300, np.int16)
        self.played: list[npt.NDArray[np.int16]] = []

    def devices(self) -> list[AudioDevice]:
        return self._devices

    def supports(self, device: AudioDevice, direction: str, rate_hz: int) -> bool:
        return rate_hz in self._rates_hz

    def open_microphone(self, device: AudioDevice, rate_hz: int, block_samples: int, hear: Hear) -> FakeStream:
        if self._fault is not None:
            raise self._fault
        self.opened.append(("input", device.name, rate_hz))
        return self._start(lambda: hear(self.voice))

    def open_speaker(self, device: AudioDevice, rate_hz: int, block_samples: int, fill: Fill) -> FakeStream:
        self.opened.append(("output", device.name, rate_hz))
        return self._start(lambda: self.played.append(fill(block_samples, 0.02)))

    def close(self) -> None:
        self.closed = True

    def _start(self, beat: Callable[[], object]) -> FakeStream:
        stream = FakeStream(beat)
        self.streams.append(stream)
        return stream


class FakeStream:
    def __init__(self, beat: Callable[[], object]) -> None:
        self.missed = 0
        self._end = threading.Event()
        self._beat = beat
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def active(self) -> bool:
        return not self._end.is_set()

    def close(self) -> None:
        self._end.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._end.wait(BLOCK_MS / 1e3):
            self._beat()


def device(index: int, name: str, inputs: int = 0, outputs: int = 0, **more: Any) -> AudioDevice:
    return AudioDevice(index=index, name=name, input_channels=inputs, output_channels=outputs, rate_hz=48_000, **more)


def stopped_stream() -> Any:
    return SimpleNamespace(active=False, missed=0, close=lambda: None)
