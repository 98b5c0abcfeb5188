"""PortAudio's error codes as named errors; both adapters sit on PortAudio."""

from __future__ import annotations

from engine.errors import DeviceBusy, DeviceError, DeviceLost, DeviceUnsuitable

_BUSY = ("unavailable", "-9985", "busy")
_UNSUITABLE = ("sample rate", "-9997", "channels", "-9998", "format", "-9994")


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
