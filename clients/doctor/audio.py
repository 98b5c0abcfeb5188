"""Is there a microphone, a library that reads it, and a virtual cable for the delayed voice?"""

from collections.abc import Callable, Iterator

from clients.audio import AudioDevice, choose_device, open_backend
from clients.doctor.machine import Finding, Machine
from engine.errors import DeviceNotFound, MissingDependency

_LIBRARY = (
    "usr/lib/libportaudio.so*",
    "usr/lib/*/libportaudio.so*",
    "usr/lib64/libportaudio.so*",
    "usr/local/lib/libportaudio.so*",
)
_CABLES = ("gohd", "blackhole", "cable", "null output", "loopback")
_MAKE_CABLE = "pactl load-module module-null-sink sink_name=gohd_voice sink_properties=device.description=GoHD-voice"


def _listed() -> list[AudioDevice]:
    backend = open_backend()
    try:
        return backend.devices()
    finally:
        backend.close()


def audio_findings(machine: Machine, listed: Callable[[], list[AudioDevice]] = _listed) -> Iterator[Finding]:
    """PortAudio, its Python packages, sound cards, the microphone that would be taken, a virtual cable."""
    if machine.linux:
        if machine.find(*_LIBRARY):
            yield Finding("portaudio", "the library is installed")
        else:
            yield Finding("portaudio", "the library is not installed", machine.install("portaudio"))
        cards = machine.text("proc/asound/cards")
        if cards is None or "no soundcards" in cards:
            yield Finding("sound cards", "the kernel has none (in a container or on a server that is usual)")
        else:
            names = [line.split("]:", 1)[1].strip() for line in cards.splitlines() if "]:" in line]
            yield Finding("sound cards", "; ".join(names))
    yield machine.python_package("sounddevice", "mic", "microphone of gohd camera")
    if machine.installed("pyaudio"):
        yield machine.python_package("pyaudio", "mic", "the other audio library")
    else:
        build = f"{machine.install('portaudio-build')} && " if machine.linux else ""
        yield Finding("pyaudio", "not installed (the other audio library)", f"{build}pip install 'gohd-live[mic]'")
    try:
        devices = listed()
        microphone = choose_device(devices, "input", None)
    except MissingDependency:
        return
    except DeviceNotFound:
        yield Finding("microphone", "none: connect one; in a container pass the audio server's socket on")
        return
    yield Finding("microphone", f"{microphone.index} '{microphone.name}', {microphone.rate_hz} Hz")
    yield from _cable(machine, devices)


def _cable(machine: Machine, devices: list[AudioDevice]) -> Iterator[Finding]:
    outputs = [device for device in devices if device.has("output")]
    cable = next((d for d in outputs if any(mark in d.name.casefold() for mark in _CABLES)), None)
    if cable is not None:
        yield Finding("voice cable", f"gohd camera --audio-out {cable.index} ('{cable.name}')")
    elif machine.linux:
        yield Finding(
            "voice cable",
            "none: after the command, --audio-out gohd_voice, and in the call take 'Monitor of GoHD-voice'",
            _MAKE_CABLE,
        )
    else:
        name = "BlackHole" if machine.system == "darwin" else "VB-CABLE"
        yield Finding("voice cable", f"none: install {name}, then --audio-out with its name")
