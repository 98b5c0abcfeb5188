"""The PyAudio adapter (PortAudio; on Linux pip builds it from source, with portaudio19-dev and a compiler)."""

from __future__ import annotations

from typing import Any

import numpy as np

from clients.audio.devices import AudioDevice, Direction, Fill, Hear
from clients.audio.faults import opening_fault
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
        default_input = self._default("get_default_input_device_info")
        default_output = self._default("get_default_output_device_info")
        found = []
        for index in range(self._portaudio.get_device_count()):
            entry = self._portaudio.get_device_info_by_index(index)
            defaults: list[Direction] = []
            if index == default_input:
                defaults.append("input")
            if index == default_output:
                defaults.append("output")
            found.append(
                AudioDevice(
                    index=index,
                    name=str(entry["name"]),
                    input_channels=int(entry["maxInputChannels"]),
                    output_channels=int(entry["maxOutputChannels"]),
                    rate_hz=round(float(entry["defaultSampleRate"])),
                    default_for=tuple(defaults),
                )
            )
        return found

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

        def callback(data: Any, count: int, times: Any, status: int) -> tuple[None, int]:
            stream.missed += bool(status & self._library.paInputOverflow)
            hear(np.frombuffer(data, np.int16))
            return None, self._library.paContinue

        self._start(stream, device, rate_hz, block_samples, callback, input=True, input_device_index=device.index)
        return stream

    def open_speaker(self, device: AudioDevice, rate_hz: int, block_samples: int, fill: Fill) -> _Stream:
        stream = _Stream()

        def callback(data: Any, count: int, times: Any, status: int) -> tuple[bytes, int]:
            stream.missed += bool(status & self._library.paOutputUnderflow)
            leaves_in_s = max(0.0, times["output_buffer_dac_time"] - times["current_time"])
            return fill(count, leaves_in_s).tobytes(), self._library.paContinue

        self._start(stream, device, rate_hz, block_samples, callback, output=True, output_device_index=device.index)
        return stream

    def close(self) -> None:
        self._portaudio.terminate()

    def _default(self, question: str) -> int:
        try:
            return int(getattr(self._portaudio, question)()["index"])
        except OSError:
            return -1

    def _start(
        self,
        stream: _Stream,
        device: AudioDevice,
        rate_hz: int,
        block_samples: int,
        callback: Any,
        **ends: Any,
    ) -> None:
        try:
            if device.index >= self._portaudio.get_device_count():
                raise OSError("no such device")
            stream.native = self._portaudio.open(
                rate=rate_hz,
                channels=1,
                format=self._library.paInt16,
                frames_per_buffer=block_samples,
                stream_callback=callback,
                **ends,
            )
        except (OSError, ValueError) as error:
            raise opening_fault(device.name, error) from error


class _Stream:
    def __init__(self) -> None:
        self.missed = 0
        self.native: Any = None

    @property
    def active(self) -> bool:
        return bool(self.native.is_active())

    def close(self) -> None:
        self.native.close()
