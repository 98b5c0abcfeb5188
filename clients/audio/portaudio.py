"""What both adapters share, for both libraries sit on PortAudio: its devices, its streams, its error codes."""

from clients.audio.devices import AudioDevice, Direction
from engine.errors import DeviceBusy, DeviceError, DeviceLost, DeviceUnsuitable

_BUSY = ("unavailable", "-9985", "busy")
_UNSUITABLE = ("sample rate", "-9997", "channels", "-9998", "format", "-9994")


def audio_device(
    index: int, name: str, input_channels: int, output_channels: int, rate_hz: float, defaults: tuple[int, int]
) -> AudioDevice:
    """A device as PortAudio describes it; ``defaults`` are the indices of the default input and output."""
    directions: tuple[Direction, Direction] = ("input", "output")
    return AudioDevice(
        index=index,
        name=name,
        input_channels=input_channels,
        output_channels=output_channels,
        rate_hz=round(rate_hz),
        default_for=tuple(way for way, default in zip(directions, defaults, strict=True) if index == default),
    )


def opening_fault(device: str, error: Exception) -> DeviceError:
    """What to tell the user when ``device`` could not be opened."""
    text = " ".join(str(part) for part in error.args) or str(error)
    lowered = text.casefold()
    if any(mark in lowered for mark in _BUSY):
        return DeviceBusy(
            f"'{device}' is held by another program: close it there, or choose the audio server's device ('default')"
        )
    if any(mark in lowered for mark in _UNSUITABLE):
        return DeviceUnsuitable(
            f"'{device}' refuses mono audio of this rate ({text}); choose the audio server's device ('default')"
        )
    return DeviceLost(f"'{device}' could not be opened ({text}); 'gohd camera --list' shows what is there now")
