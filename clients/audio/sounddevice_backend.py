"""The ``sounddevice`` adapter (PortAudio; wheels for Windows and macOS carry its library)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clients.audio.devices import AudioDevice, Direction, Fill, Hear, Samples
from clients.audio.portaudio import audio_device, opening_fault
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
        return [
            audio_device(
                index,
                entry["name"],
                entry["max_input_channels"],
                entry["max_output_channels"],
                entry["default_samplerate"],
                tuple(self._library.default.device),
            )
            for index, entry in enumerate(self._library.query_devices())
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

        def callback(data: Samples, count: int, times: object, status: Any) -> None:
            stream.missed += bool(status.input_overflow)
            hear(data[:, 0].copy())

        return self._start(stream, self._library.InputStream, device, rate_hz, block_samples, callback)

    def open_speaker(self, device: AudioDevice, rate_hz: int, block_samples: int, fill: Fill) -> _Stream:
        stream = _Stream()

        def callback(data: Samples, count: int, times: Any, status: Any) -> None:
            stream.missed += bool(status.output_underflow)
            data[:, 0] = fill(count, max(0.0, times.outputBufferDacTime - times.currentTime))

        return self._start(stream, self._library.OutputStream, device, rate_hz, block_samples, callback)

    def close(self) -> None:
        """Nothing is held beside the streams."""

    def _start(
        self,
        stream: _Stream,
        kind: Any,
        device: AudioDevice,
        rate_hz: int,
        block_samples: int,
        callback: Callable[..., None],
    ) -> _Stream:
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
        return stream


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
