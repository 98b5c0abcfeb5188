"""Microphones and speakers: one small protocol, two audio libraries behind it."""

from collections.abc import Callable

from clients.audio.devices import (
    AudioBackend,
    AudioDevice,
    AudioStream,
    Fill,
    Hear,
    Samples,
    choose_device,
    choose_rate,
)
from clients.audio.pyaudio_backend import PyAudioBackend
from clients.audio.sounddevice_backend import SoundDeviceBackend
from engine.errors import CommandInvalid, MissingDependency

__all__ = [
    "AudioBackend",
    "AudioDevice",
    "AudioStream",
    "Fill",
    "Hear",
    "Samples",
    "choose_device",
    "choose_rate",
    "open_backend",
]

_BACKENDS: dict[str, Callable[[], AudioBackend]] = {
    "sounddevice": SoundDeviceBackend,
    "pyaudio": PyAudioBackend,
}


def open_backend(name: str = "auto") -> AudioBackend:
    """The audio library of that name; "auto" is the first that is installed, sounddevice before PyAudio.

    Raises:
        CommandInvalid: no such name. MissingDependency: it, or for "auto" both, cannot be loaded.
    """
    if name in _BACKENDS:
        return _BACKENDS[name]()
    if name != "auto":
        raise CommandInvalid(f"the backend must be auto, {' or '.join(_BACKENDS)}, not {name!r}")
    reasons = []
    for backend in _BACKENDS.values():
        try:
            return backend()
        except MissingDependency as error:
            reasons.append(str(error))
    raise MissingDependency("no audio library can be loaded. " + ". ".join(reasons))
