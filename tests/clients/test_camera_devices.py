"""Devices of `gohd camera`: which one is meant, and what a user is told about those that cannot be used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clients.audio import AudioBackend, choose_device, choose_rate, open_backend
from clients.audio.portaudio import opening_fault
from clients.camera import list_cameras, open_camera
from engine.errors import (
    CommandInvalid,
    DeviceBusy,
    DeviceLost,
    DeviceNotFound,
    DeviceUnsuitable,
    MissingDependency,
)
from tests.clients.camera_helper import FakeAudio, device

DEVICES = [
    device(0, "HDA Intel: ALC257", inputs=2, outputs=2),
    device(1, "USB Headset", inputs=1, outputs=2),
    device(2, "USB Speakers", outputs=2),
    device(3, "default", inputs=32, outputs=32, default_for=("input", "output")),
]


@pytest.mark.parametrize(
    ("wanted", "index"), [(None, 3), ("1", 1), ("headset", 1), ("default", 3), ("HDA Intel: ALC257", 0)]
)
def test_a_microphone_is_found_by_number_name_or_part_of_it(wanted: str | None, index: int) -> None:
    assert choose_device(DEVICES, "input", wanted).index == index


def test_a_device_without_that_direction_is_not_there() -> None:
    with pytest.raises(DeviceNotFound, match=r"no microphone 'Speakers'; name one of: 0 'HDA.*1 'USB Headset'"):
        choose_device(DEVICES, "input", "Speakers")


def test_a_name_that_fits_two_devices_asks_which() -> None:
    with pytest.raises(DeviceNotFound, match=r"more than one audio output.*1 'USB Headset', 2 'USB Speakers'"):
        choose_device(DEVICES, "output", "usb")


def test_a_machine_without_devices_is_told_to_the_doctor() -> None:
    with pytest.raises(DeviceNotFound, match=r"no microphone.*gohd doctor"):
        choose_device([], "input", None)


@pytest.mark.parametrize(("rates", "chosen"), [((16_000, 44_100, 48_000), 48_000), ((44_100, 16_000), 44_100)])
def test_the_rate_is_one_that_both_ends_do(rates: tuple[int, ...], chosen: int) -> None:
    sound = FakeAudio(DEVICES, rates_hz=rates)
    assert choose_rate(sound, DEVICES[0], DEVICES[2]) == chosen


def test_no_common_rate_is_named() -> None:
    with pytest.raises(DeviceUnsuitable, match=r"no common sample rate.*'default', 'pulse' or 'pipewire'"):
        choose_rate(FakeAudio(DEVICES, rates_hz=(11_025,)), DEVICES[0], DEVICES[1])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(-9985, "Device unavailable"), DeviceBusy),
        (OSError("[Errno -9997] Invalid sample rate"), DeviceUnsuitable),
        (
            RuntimeError("Error opening InputStream: Invalid number of channels [PaErrorCode -9998]"),
            DeviceUnsuitable,
        ),
        (OSError("[Errno -9999] Unanticipated host error"), DeviceLost),
    ],
)
def test_faults_of_portaudio_have_names(error: Exception, kind: type[Exception]) -> None:
    fault = opening_fault("USB Headset", error)
    assert type(fault) is kind
    assert "'USB Headset'" in str(fault)
    assert "choose" in str(fault) or "gohd camera --list" in str(fault)


def test_an_unknown_audio_library_is_refused() -> None:
    with pytest.raises(CommandInvalid, match="auto, sounddevice or pyaudio"):
        open_backend("jack")


def test_without_audio_libraries_both_install_lines_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(MissingDependency, match=r"gohd-live\[mic\].*portaudio19-dev"):
        open_backend()


@pytest.fixture(params=["sounddevice", "pyaudio"])
def real_backend(request: pytest.FixtureRequest) -> Iterator[AudioBackend]:
    try:
        backend = open_backend(request.param)
    except MissingDependency as error:
        pytest.skip(str(error))
    yield backend
    backend.close()


def test_the_real_libraries_list_devices_or_say_that_there_are_none(real_backend: AudioBackend) -> None:
    devices = real_backend.devices()
    for entry in devices:
        assert entry.name
        assert entry.input_channels >= 0
    if not any(entry.has("input") for entry in devices):
        with pytest.raises(DeviceNotFound, match="no microphone"):
            choose_device(devices, "input", None)


def test_the_real_libraries_refuse_a_device_that_is_gone(real_backend: AudioBackend) -> None:
    ghost = device(4000, "unplugged", inputs=1, outputs=1)
    assert not real_backend.supports(ghost, "input", 48_000)
    assert not real_backend.supports(ghost, "output", 48_000)
    with pytest.raises((DeviceLost, DeviceUnsuitable, DeviceBusy), match="unplugged"):
        real_backend.open_microphone(ghost, 48_000, 960, lambda samples: None)
    with pytest.raises((DeviceLost, DeviceUnsuitable, DeviceBusy), match="unplugged"):
        real_backend.open_speaker(ghost, 48_000, 960, lambda count, _: np.zeros(count, np.int16))


class _MadeUpPyAudio:
    """The package and its one class in one: a microphone and a speaker whose callbacks the test calls itself."""

    paInt16, paContinue, paInputOverflow, paOutputUnderflow = 8, 0, 2, 4

    def __init__(self) -> None:
        self.callbacks: list[Any] = []
        self.active = True
        self.fault: Exception | None = None

    def PyAudio(self) -> _MadeUpPyAudio:
        return self

    def get_device_count(self) -> int:
        return 1

    def get_default_input_device_info(self) -> dict[str, Any]:
        return {"index": 0}

    def get_default_output_device_info(self) -> dict[str, Any]:
        raise OSError("no default output")

    def get_device_info_by_index(self, index: int) -> dict[str, Any]:
        return {"name": "card", "maxInputChannels": 1, "maxOutputChannels": 2, "defaultSampleRate": 48_000.0}

    def is_format_supported(self, rate_hz: int, **asked: Any) -> bool:
        if rate_hz != 48_000:
            raise ValueError("sample rate")
        return True

    def open(self, **asked: Any) -> _MadeUpPyAudio:
        if self.fault is not None:
            raise self.fault
        self.callbacks.append(asked["stream_callback"])
        return self

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.active = False

    def terminate(self) -> None:
        self.callbacks.clear()


def test_the_pyaudio_adapter_hears_speaks_counts_what_is_missed_and_names_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = _MadeUpPyAudio()
    monkeypatch.setitem(sys.modules, "pyaudio", library)
    backend = open_backend("pyaudio")
    (card,) = backend.devices()
    assert (card.name, card.rate_hz, card.default_for) == ("card", 48_000, ("input",))
    assert backend.supports(card, "input", 48_000)
    assert not backend.supports(card, "output", 44_100)
    heard: list[Any] = []
    microphone = backend.open_microphone(card, 48_000, 4, heard.append)
    speaker = backend.open_speaker(card, 48_000, 4, lambda count, _: np.full(count, 7, np.int16))
    hear, speak = library.callbacks
    assert hear(np.arange(4, dtype=np.int16).tobytes(), 4, {}, library.paInputOverflow) == (None, 0)
    said, _ = speak(None, 4, {"output_buffer_dac_time": 1.0, "current_time": 2.0}, 0)
    np.testing.assert_array_equal(heard[0], np.arange(4))
    np.testing.assert_array_equal(np.frombuffer(said, np.int16), 7)
    assert (microphone.missed, speaker.missed) == (1, 0)
    library.fault = OSError("Device unavailable", -9985)
    with pytest.raises(DeviceBusy, match="card"):
        backend.open_microphone(card, 48_000, 4, heard.append)
    microphone.close()
    assert not microphone.active
    backend.close()


_THROUGH_ALSA = """
import json, sys, time
import numpy as np
from clients.audio import choose_device, choose_rate, open_backend
from engine.errors import MissingDependency

for name in ("sounddevice", "pyaudio"):
    try:
        backend = open_backend(name)
    except MissingDependency:
        continue
    device = choose_device(backend.devices(), "output", "gohd")
    rate_hz = choose_rate(backend, choose_device(backend.devices(), "input", None), device)
    heard, asked = [], []

    def fill(count, leaves_in_s):
        asked.append(leaves_in_s)
        return np.zeros(count, np.int16)

    streams = [
        backend.open_microphone(device, rate_hz, 960, heard.append),
        backend.open_speaker(device, rate_hz, 960, fill),
    ]
    time.sleep(0.3)
    active = [stream.active for stream in streams]
    for stream in streams:
        stream.close()
    count = len(heard)
    time.sleep(0.1)
    backend.close()
    print(json.dumps({
        "name": name, "device": device.name, "rate_hz": rate_hz, "active": active, "asked": len(asked),
        "block": [str(heard[0].dtype), list(heard[0].shape)], "least_s": min(asked), "after": len(heard) - count,
    }))
"""


@pytest.mark.skipif(not Path("/usr/share/alsa/alsa.conf").exists(), reason="ALSA is not installed: libasound2-data")
def test_both_libraries_really_open_call_back_and_close(tmp_path: Path) -> None:
    """ALSA has a device that takes everything and gives silence, at any pace; no sound card is needed for it."""
    (tmp_path / ".asoundrc").write_text('pcm.gohd_cable {\n type null\n hint { show on description "cable" }\n}\n')
    done = subprocess.run(
        [sys.executable, "-c", _THROUGH_ALSA],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    if not done.stdout:
        pytest.skip("neither sounddevice nor PyAudio can be loaded (extra 'mic')")
    for line in done.stdout.splitlines():
        said = json.loads(line)
        assert (said["device"], said["rate_hz"]) == ("gohd_cable", 48_000)
        assert said["active"] == [True, True]
        assert said["block"] == ["int16", [960]]
        assert said["asked"] > 0
        assert said["least_s"] >= 0.0
        assert said["after"] == 0


def _video_device(root: Path, number: int, name: str, virtual: bool) -> None:
    kind = "virtual" if virtual else "pci0000:00/usb1"
    folder = root / f"sys/devices/{kind}/video4linux/video{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(name + "\n")
    listed = root / "sys/class/video4linux"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / f"video{number}").symlink_to(folder)
    (root / "dev").mkdir(exist_ok=True)
    (root / f"dev/video{number}").touch()


def test_cameras_are_listed_by_number_with_what_they_are(tmp_path: Path) -> None:
    _video_device(tmp_path, 10, "GoHD", virtual=True)
    _video_device(tmp_path, 2, "Integrated Camera", virtual=False)
    cameras = list_cameras(tmp_path)
    assert [(camera.path, camera.name, camera.virtual) for camera in cameras] == [
        ("/dev/video2", "Integrated Camera", False),
        ("/dev/video10", "GoHD", True),
    ]
    assert list_cameras(tmp_path / "elsewhere") == []


def _pyvirtualcam(monkeypatch: pytest.MonkeyPatch, camera: Any) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=camera))


@pytest.mark.parametrize(
    ("said", "kind", "advice"),
    [
        ("Virtual camera device /dev/video9 is already in use.", DeviceBusy, "--device"),
        ("Device /dev/video9 could not be opened: Device or resource busy", DeviceBusy, "close it there"),
        ("Device /dev/video9 does not exist.", DeviceNotFound, "gohd doctor|OBS"),
        ("Device /dev/video9 is not a video output device.", DeviceUnsuitable, "--list"),
        ("could not be opened due to missing permissions.", DeviceUnsuitable, "usermod -aG video"),
    ],
)
def test_faults_of_the_camera_have_names(
    monkeypatch: pytest.MonkeyPatch, said: str, kind: type[Exception], advice: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"'v4l2loopback' backend: {said}")

    _pyvirtualcam(monkeypatch, refuse)
    with pytest.raises(kind, match=advice) as caught:
        open_camera("/dev/video9", 1280, 720)
    assert type(caught.value) is kind


def test_a_camera_that_vanishes_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("No such device")

    _pyvirtualcam(monkeypatch, lambda *_, **__: SimpleNamespace(device="/dev/video9", send=fail, close=lambda: None))
    camera = open_camera(None, 320, 240)
    with pytest.raises(DeviceLost, match="/dev/video9 takes no more images"):
        camera.send(np.zeros((240, 320, 3), np.uint8))


def test_without_pyvirtualcam_its_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingDependency, match=re.escape("pip install 'gohd-live[camera]'")):
        open_camera(None, 1280, 720)


def test_the_real_pyvirtualcam_without_a_device() -> None:
    pytest.importorskip("pyvirtualcam", reason="pyvirtualcam is not installed (extra 'camera')")
    with pytest.raises(DeviceNotFound, match=r"/dev/video\d+ is not there"):
        open_camera("/dev/video98", 1280, 720)


def test_a_real_loopback_device_takes_images() -> None:
    pytest.importorskip("pyvirtualcam", reason="pyvirtualcam is not installed (extra 'camera')")
    virtual = [camera for camera in list_cameras() if camera.virtual and camera.writable]
    if not virtual:
        pytest.skip("no v4l2loopback device here: sudo modprobe v4l2loopback exclusive_caps=1")
    camera = open_camera(virtual[0].path, 640, 480)
    try:
        for level in (0, 128, 255):
            camera.send(np.full((480, 640, 3), level, np.uint8))
    finally:
        camera.close()
