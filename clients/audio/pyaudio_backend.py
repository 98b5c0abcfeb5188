"""The PyAudio adapter (PortAudio; on Linux pip builds it from source, with portaudio19-dev and a compiler)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clients.audio.devices import AudioDevice, Direction, Fill, Hear
from clients.audio.portaudio import audio_device, opening_fault
from engine.errors import MissingDependency


class PyAudioBackend:
    """Raises MissingDependency where the package is not installed."""

    name = "pyaudio"

    def __init__(self) -> None:
        try:
            import pyaudio
        except ImportError as error:
            raise MissingDependency(
                "PyAudio is not installed: sudo apt-get install portaudio19-dev gcc python3-dev, "
                "then pip install 'gohd-live[mic]'"
            ) from error
        self._library: Any = pyaudio
        self._portaudio: Any = pyaudio.PyAudio()

    def devices(self) -> list[AudioDevice]:
        defaults = self._default("input"), self._default("output")
        entries = [self._portaudio.get_device_info_by_index(i) for i in range(self._portaudio.get_device_count())]
        return [
            audio_device(
                index,
                str(entry["name"]),
                int(entry["maxInputChannels"]),
                int(entry["maxOutputChannels"]),
                float(entry["defaultSampleRate"]),
                defaults,
            )
            for index, entry in enumerate(entries)
        ]

    def supports(self, device: AudioDevice, direction: Direction, rate_hz: int) -> bool:
        if device.index >= self._portaudio.get_device_count():  # PortAudio aborts the program
            return False
        asked = {
            f"{direction}_device": device.index,
            f"{direction}_channels": 1,
            f"{direction}_format": self._library.paInt16,
        }
        try:
            return bool(self._portaudio.is_format_supported(rate_hz, **asked))
        except ValueError:
            return False

    def open_microphone(self, device: AudioDevice, rate_hz: int, block_samples: int, hear: Hear) -> _Stream:
        stream = _Stream()

        def callback(data: bytes, count: int, times: object, status: int) -> tuple[None, int]:
            stream.missed += bool(status & self._library.paInputOverflow)
            hear(np.frombuffer(data, np.int16))
            return None, self._library.paContinue

        return self._start(stream, "input", device, rate_hz, block_samples, callback)

    def open_speaker(self, device: AudioDevice, rate_hz: int, block_samples: int, fill: Fill) -> _Stream:
        stream = _Stream()

        def callback(data: None, count: int, times: Mapping[str, float], status: int) -> tuple[bytes, int]:
            stream.missed += bool(status & self._library.paOutputUnderflow)
            leaves_in_s = max(0.0, times["output_buffer_dac_time"] - times["current_time"])
            return fill(count, leaves_in_s).tobytes(), self._library.paContinue

        return self._start(stream, "output", device, rate_hz, block_samples, callback)

    def close(self) -> None:
        self._portaudio.terminate()

    def _default(self, direction: Direction) -> int:
        try:
            return int(getattr(self._portaudio, f"get_default_{direction}_device_info")()["index"])
        except OSError:
            return -1

    def _start(
        self,
        stream: _Stream,
        direction: Direction,
        device: AudioDevice,
        rate_hz: int,
        block_samples: int,
        callback: Callable[..., tuple[bytes | None, int]],
    ) -> _Stream:
        try:
            if device.index >= self._portaudio.get_device_count():  # PortAudio aborts the program
                raise OSError("no such device")
            stream.native = self._portaudio.open(
                rate=rate_hz,
                channels=1,
                format=self._library.paInt16,
                frames_per_buffer=block_samples,
                stream_callback=callback,
                **{direction: True, f"{direction}_device_index": device.index},
            )
        except (OSError, ValueError) as error:
            raise opening_fault(device.name, error) from error
        return stream


class _Stream:
    def __init__(self) -> None:
        self.missed = 0
        self.native: Any = None

    @property
    def active(self) -> bool:
        return bool(self.native.is_active())

    def close(self) -> None:
        self.native.close()
