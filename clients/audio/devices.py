"""The protocol of an audio library, and how a user's words choose one of its devices.

``sounddevice_backend`` and ``pyaudio_backend`` implement it. Audio is mono int16. Streams call back on threads of the
library: what they call must return at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import DeviceNotFound, DeviceUnsuitable

Samples = npt.NDArray[np.int16]
Direction = Literal["input", "output"]

Hear = Callable[[Samples], None]
"""Called with the next samples of a microphone, int16 (n,)."""

Fill = Callable[[int, float], Samples]
"""Called with n and the seconds until the first sample is heard; returns int16 (n,) for a speaker."""

_USUAL_RATES_HZ = (48_000, 44_100, 32_000, 16_000)
_KIND = {"input": "microphone", "output": "audio output"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDevice:
    """One device as the library names it; ``default_for`` are the directions that the system uses it for."""

    index: int
    name: str
    input_channels: int
    output_channels: int
    rate_hz: int
    default_for: tuple[Direction, ...] = ()

    def has(self, direction: Direction) -> bool:
        return (self.input_channels if direction == "input" else self.output_channels) > 0


class AudioStream(Protocol):
    """A running microphone or speaker. ``missed`` counts blocks that the system lost or had to invent."""

    missed: int

    @property
    def active(self) -> bool:
        """Whether it still calls back."""
        ...

    def close(self) -> None:
        """Stop it; nothing is called after that."""
        ...


class AudioBackend(Protocol):
    """An audio library."""

    name: str

    def devices(self) -> list[AudioDevice]: ...

    def supports(self, device: AudioDevice, direction: Direction, rate_hz: int) -> bool:
        """Whether the device supports mono int16 at this rate."""
        ...

    def open_microphone(self, device: AudioDevice, rate_hz: int, block_samples: int, hear: Hear) -> AudioStream:
        """Raises DeviceBusy or DeviceUnsuitable."""
        ...

    def open_speaker(self, device: AudioDevice, rate_hz: int, block_samples: int, fill: Fill) -> AudioStream:
        """Raises DeviceBusy or DeviceUnsuitable."""
        ...

    def close(self) -> None: ...


def choose_device(devices: Sequence[AudioDevice], direction: Direction, wanted: str | None) -> AudioDevice:
    """The device with ``wanted`` as its index or name, or the only one with it in its name; None is the default.

    Raises:
        DeviceNotFound: none, or more than one; the message lists what is there.
    """
    kind = _KIND[direction]
    usable = [device for device in devices if device.has(direction)]
    if not usable:
        raise DeviceNotFound(
            f"this machine has no {kind}: connect one, or check that the audio server runs; "
            "'gohd doctor' says what is missing"
        )
    if wanted is None:
        return next((device for device in usable if direction in device.default_for), usable[0])
    exact = [device for device in usable if wanted in (str(device.index), device.name)]
    close = exact or [device for device in usable if wanted.casefold() in device.name.casefold()]
    if len(close) == 1 or exact:
        return close[0]
    listed = ", ".join(f"{device.index} '{device.name}'" for device in (close or usable))
    problem = f"more than one {kind} has {wanted!r} in its name" if close else f"there is no {kind} {wanted!r}"
    raise DeviceNotFound(f"{problem}; name one of: {listed}")


def choose_rate(backend: AudioBackend, microphone: AudioDevice, speaker: AudioDevice | None) -> int:
    """A sample rate that both devices support, 48 kHz first, so that the voice passes unchanged.

    Raises:
        DeviceUnsuitable: there is none.
    """
    for rate_hz in dict.fromkeys((*_USUAL_RATES_HZ, microphone.rate_hz)):
        if backend.supports(microphone, "input", rate_hz) and (
            speaker is None or backend.supports(speaker, "output", rate_hz)
        ):
            return rate_hz
    pair = f"'{microphone.name}'" + (f" and '{speaker.name}'" if speaker is not None else "")
    raise DeviceUnsuitable(
        f"{pair} have no common sample rate for mono audio (tried {', '.join(map(str, _USUAL_RATES_HZ))} Hz); choose "
        "the audio server's own device ('default', 'pulse' or 'pipewire'), which converts"
    )
