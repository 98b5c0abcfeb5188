"""The ``sounddevice`` adapter (PortAudio; wheels for Windows and macOS carry its library)."""

from __future__ import annotations

from typing import Any

import numpy as np

from clients.audio.devices import AudioDevice, Direction, Fill, Hear
from clients.audio.faults import opening_fault
from engine.errors import MissingDependency


class SoundDeviceBackend:
    """Raises MissingDependency where the package or the PortAudio library is not installed."""

    name = "sounddevice"

    def __init__(self) -> None:
        try:
            import sounddevice
        except ImportError as error:
            raise MissingDependency("sounddevice is not installed: pip install 'gohd-live[mic]'") from error
        except OSError as error:
            raise MissingDependency(
                "sounddevice finds no PortAudio library: sudo apt-get install libportaudio2"
            ) from error
        self._library: Any = sounddevice

    def devices(self) -> list[AudioDevice]:
        found = self._library.query_devices()
        default_input, default_output = self._library.default.device
        return [
            AudioDevice(
                index=index,
                name=entry["name"],
                input_channels=entry["max_input_channels"],
                output_channels=entry["max_output_channels"],
                rate_hz=round(entry["default_samplerate"]),
                default_for=_defaults(index, default_input, default_output),
            )
            for index, entry in enumerate(found)
        ]

    def supports(self, device: AudioDevice, direction: Direction, rate_hz: int) -> bool:
        check = self._library.check_input_settings if direction == "input" else self._library.check_output_settings
        try:
            check(device=device.index, channels=1, dtype="int16", samplerate=rate_hz)
        except (self._library.PortAudioError, ValueError):
            return False
        return True

    def open_microphone(self, device: AudioDevice, rate_hz: int, block_samples: int, hear: Hear) -> _Stream:
        stream = _Stream()

        def callback(data: Any, count: int, times: Any, status: Any) -> None:
            stream.missed += bool(status.input_overflow)
            hear(data[:, 0].copy())

        self._start(stream, self._library.InputStream, device, rate_hz, block_samples, callback)
        return stream

    def open_speaker(self, device: AudioDevice, rate_hz: int, block_samples: int, fill: Fill) -> _Stream:
        stream = _Stream()

        def callback(data: Any, count: int, times: Any, status: Any) -> None:
            stream.missed += bool(status.output_underflow)
            data[:, 0] = fill(count, max(0.0, times.outputBufferDacTime - times.currentTime))

        self._start(stream, self._library.OutputStream, device, rate_hz, block_samples, callback)
        return stream

    def close(self) -> None:
        """Nothing is held beside the streams."""

    def _start(
        self, stream: _Stream, kind: Any, device: AudioDevice, rate_hz: int, block_samples: int, callback: Any
    ) -> None:
        try:
            stream.native = kind(
                device=device.index,
                channels=1,
                dtype=np.int16,
                samplerate=rate_hz,
                blocksize=block_samples,
                latency="low",
                callback=callback,
            )
            stream.native.start()
        except self._library.PortAudioError as error:
            raise opening_fault(device.name, error) from error


class _Stream:
    def __init__(self) -> None:
        self.missed = 0
        self.native: Any = None

    @property
    def active(self) -> bool:
        return bool(self.native.active)

    def close(self) -> None:
        self.native.abort(ignore_errors=True)
        self.native.close(ignore_errors=True)


def _defaults(index: int, default_input: int, default_output: int) -> tuple[Direction, ...]:
    found: list[Direction] = []
    if index == default_input:
        found.append("input")
    if index == default_output:
        found.append("output")
    return tuple(found)
