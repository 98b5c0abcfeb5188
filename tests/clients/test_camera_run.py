"""`gohd camera` from its command line to its end, with made-up devices and the image that it shows."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clients.audio import open_backend
from clients.camera import Compositor, parse_colour, parse_command, parse_size, read_commands
from clients.cli.camera import camera
from clients.cli.main import app
from engine.errors import (
    CommandInvalid,
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DeviceNotFound,
    MissingDependency,
    NoFaceFound,
)
from engine.portrait import CROP_SIZES, load_image
from engine.postprocess import WatermarkConfig, WatermarkDetector
from tests.clients.camera_helper import FakeAudio, FakeCamera, device
from tests.fake_engine import FakeEngine

DEVICES = [
    device(0, "headset", inputs=1, outputs=2, default_for=("input",)),
    device(1, "cable", outputs=2),
]


class _Engine(FakeEngine):
    def open_session(self, avatar: Any, *, seed: int = 0, **settings: Any) -> Any:
        self.settings = settings
        return super().open_session(avatar, seed=seed)


class _Parts:
    """What the command opens, made up; ``stop_after_s`` presses Ctrl-C once images flow."""

    def __init__(self, audio: FakeAudio | None = None) -> None:
        self.audio = audio or FakeAudio(DEVICES)
        self.camera = FakeCamera(time.monotonic)
        self.engine = _Engine()
        self.pressed_s = 0.0

    def run(self, press: int | None = signal.SIGINT, after_s: float = 0.8, **options: Any) -> None:
        if press is not None:
            threading.Thread(target=self._press, args=(press, after_s), daemon=True).start()
        with (
            patch("clients.audio.open_backend", lambda _: self.audio),
            patch("clients.camera.open_camera", lambda *_: self.camera),
            patch("engine.load_engine", lambda **_: self.engine),
        ):
            camera(portrait=Path("somebody.jpg"), size="320x240", **options)

    def _press(self, number: int, after_s: float) -> None:
        while len(self.camera.sent) < 5:
            time.sleep(0.02)
        time.sleep(after_s)
        self.pressed_s = time.monotonic()
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("takes_ms", "head", "tried"),
    [
        ({512: 20.0}, None, [512]),
        ({512: 40.0, 384: 30.0}, None, [512, 384]),
        ({512: 400.0, 384: 300.0, 256: 200.0}, None, [512, 384, 256]),
        ({1024: 90.0}, 1024, [1024]),
    ],
)
def test_the_head_is_as_large_as_asked_for_or_as_the_machine_sustains(
    takes_ms: dict[int, float], head: int | None, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = _Parts()
    parts.engine.sizes = CROP_SIZES
    monkeypatch.setattr("server.live.capacity.measure_frames", lambda _: (takes_ms[parts.engine.asked_sizes[-1]], []))
    parts.run(after_s=0.1, head=head)
    assert parts.engine.asked_sizes == tried


def test_a_head_that_the_weights_do_not_draw_is_refused() -> None:
    with pytest.raises(CommandInvalid, match="256 px, not of 512"):
        _Parts().run(press=None, head=512)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_within_a_second_and_leaves_nothing_open(number: int) -> None:
    before = threading.active_count()
    parts = _Parts()
    parts.run(press=number, audio_out="cable")
    assert time.monotonic() - parts.pressed_s < 1.0
    assert parts.camera.closed
    assert parts.audio.closed
    assert all(not stream.active for stream in parts.audio.streams)
    assert parts.engine.sessions[-1].closed
    end_s = time.monotonic() + 1.0
    while threading.active_count() > before + 1 and time.monotonic() < end_s:
        time.sleep(0.05)
    assert threading.active_count() <= before + 1


def test_images_and_voice_flow_to_the_devices_that_were_named() -> None:
    parts = _Parts()
    parts.run(mic="head", audio_out="1", frame="full", intensity=0.5, gaze="0.1,-0.2", after_s=1.5)
    assert parts.audio.opened == [("input", "headset", 48_000), ("output", "cable", 48_000)]
    assert parts.engine.settings == {"frame": "full", "intensity": 0.5, "generate_gaze": False}
    assert parts.engine.sessions[-1].gaze == (0.1, -0.2)
    assert max(brightest for _, _, brightest in parts.camera.sent) > 60
    heard = np.concatenate(parts.audio.played)
    assert set(np.unique(heard)) <= set(range(301))
    assert (heard == 300).any()


def test_without_an_output_the_user_is_told_the_delay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    parts = _Parts()
    parts.run()
    assert any("sync offset" in record.message for record in caplog.records)
    assert parts.audio.opened == [("input", "headset", 48_000)]


def test_a_busy_microphone_ends_it_and_the_camera_is_given_back() -> None:
    parts = _Parts(FakeAudio(DEVICES, fault=DeviceBusy("'headset' is held by another program")))
    with pytest.raises(DeviceBusy, match="headset"):
        parts.run(press=None)
    assert parts.camera.closed
    assert parts.audio.closed


def test_an_absent_microphone_is_told_before_the_weights_are_loaded() -> None:
    parts = _Parts(FakeAudio([DEVICES[1]]))
    with pytest.raises(DeviceNotFound, match="no microphone"):
        parts.run(press=None)
    assert not parts.engine.sessions


def test_a_microphone_that_is_unplugged_ends_it_with_its_name() -> None:
    parts = _Parts()

    def unplug() -> None:
        while len(parts.camera.sent) < 10:
            time.sleep(0.02)
        parts.audio.streams[0]._end.set()

    threading.Thread(target=unplug, daemon=True).start()
    with pytest.raises(DeviceError, match="microphone went silent"):
        parts.run(press=None)
    assert parts.camera.closed


def test_a_camera_that_vanishes_ends_it_by_name_and_gives_the_audio_back() -> None:
    parts = _Parts()
    send = parts.camera.send

    def vanish(rgb: Any) -> None:
        if len(parts.camera.sent) > 10:
            raise DeviceLost("the camera /dev/video9 takes no more images")
        send(rgb)

    parts.camera.send = vanish  # type: ignore[method-assign]
    with pytest.raises(DeviceLost, match="video9"):
        parts.run(press=None, audio_out="cable")
    assert parts.audio.closed
    assert all(not stream.active for stream in parts.audio.streams)
    assert parts.engine.sessions[-1].closed


def test_an_engine_that_fails_while_live_gives_the_devices_back() -> None:
    parts = _Parts()

    def fail() -> None:
        while len(parts.camera.sent) < 10:
            time.sleep(0.02)
        parts.engine.sessions[-1].fail = True

    threading.Thread(target=fail, daemon=True).start()
    with pytest.raises(RuntimeError, match="told to fail"):
        parts.run(press=None)
    assert parts.camera.closed
    assert parts.audio.closed


def test_a_portrait_without_a_face_gives_the_devices_back() -> None:
    parts = _Parts()

    def refuse(_: Any, **__: Any) -> Any:
        raise NoFaceFound("no face was found")

    parts.engine.enroll = refuse  # type: ignore[method-assign]
    with pytest.raises(NoFaceFound):
        parts.run(press=None)
    assert parts.camera.closed


def test_the_command_needs_a_portrait_and_lists_devices_without_one() -> None:
    refused = CliRunner().invoke(app, ["camera"])
    assert refused.exit_code == 2
    assert "--portrait" in refused.output
    try:
        open_backend("sounddevice").close()
    except MissingDependency as error:
        pytest.skip(str(error))
    listed = CliRunner().invoke(app, ["camera", "--list", "--sound", "sounddevice"])
    assert listed.exit_code == 0, listed.output
    for title in ("microphones (--mic)", "audio outputs (--audio-out)", "cameras (--device)"):
        assert title in listed.output


@pytest.mark.parametrize(
    "text", ["", "1280", "1280x", "x720", "1281x720", "64x64", "9000x9000", "axb", "-2x200", "²x²"]
)
def test_sizes_that_no_camera_has_are_refused(text: str) -> None:
    with pytest.raises(CommandInvalid, match="like 1280x720"):
        parse_size(text)


def test_a_size_and_a_colour_are_read() -> None:
    assert parse_size("1280X720") == (1280, 720)
    assert parse_colour("#0a141E") == (10, 20, 30)
    with pytest.raises(CommandInvalid, match="RRGGBB"):
        parse_colour("blue")


@settings(max_examples=20, deadline=None)
@given(height=st.integers(2, 700), width=st.integers(2, 700))
def test_any_frame_fits_the_camera_in_its_own_proportions(height: int, width: int) -> None:
    ground = (10, 20, 30)
    image = Compositor(320, 240, WatermarkConfig(), ground).compose(np.full((height, width, 3), 200, np.uint8))
    assert image.shape == (240, 320, 3)
    inside = image.astype(int).mean(axis=2) > 110
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert len(rows) == max(1, min(240, round(min(320 / width, 240 / height) * height)))
    assert len(columns) == max(1, min(320, round(min(320 / width, 240 / height) * width)))
    assert abs(rows[0] - (239 - rows[-1])) <= 1
    assert abs(columns[0] - (319 - columns[-1])) <= 1


def test_the_mark_is_found_in_what_the_camera_shows(portrait_path: Path) -> None:
    head = load_image(portrait_path)[:256, :256]
    canvas = Compositor(1280, 720, WatermarkConfig(tag=777))
    detector = WatermarkDetector()
    for shift in range(8):
        detector.push(canvas.compose(np.roll(head, 3 * shift, axis=1)))
    assert detector.read().tag == 777


def test_a_tag_that_does_not_fit_is_refused() -> None:
    with pytest.raises(CommandInvalid, match="16 bits"):
        Compositor(1280, 720, WatermarkConfig(tag=2**16))


class _Steered:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.calls.append((name, *values))


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("gaze 0.1,-0.2", ("set_gaze", 0.1, -0.2)),
        ("  gaze   off ", ("clear_gaze",)),
        ("intensity 0.5", ("set_intensity", 0.5)),
        ("head off", ("set_pose", False)),
        ("head on", ("set_pose", True)),
    ],
)
def test_lines_steer_the_avatar(line: str, call: tuple[Any, ...]) -> None:
    steered = _Steered()
    parse_command(line)(steered)
    assert steered.calls == [call]


@given(st.text(max_size=40).filter(lambda line: line.split()[:1] not in (["gaze"], ["intensity"], ["head"])))
def test_any_other_line_is_refused_with_the_commands_that_there_are(line: str) -> None:
    with pytest.raises(CommandInvalid, match="gaze PITCH,YAW"):
        parse_command(line)


@pytest.mark.parametrize("line", ["gaze", "gaze 1", "gaze a,b", "gaze 1,2,3", "intensity x", "head up", "gaze 1 2"])
def test_a_command_with_other_values_is_refused(line: str) -> None:
    with pytest.raises(CommandInvalid, match="gaze PITCH,YAW"):
        parse_command(line)


def test_commands_come_in_by_standard_input(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    steered = _Steered()
    readable, writable = os.pipe()
    with os.fdopen(readable) as source:
        monkeypatch.setattr(sys, "stdin", source)
        thread = read_commands(threading.Event(), lambda command: command(steered))
        with os.fdopen(writable, "w") as keyboard:
            keyboard.write("gaze 0.1,0.2\nnonsense\n\nhead off\n")
        assert thread is not None
        thread.join(5.0)
    assert steered.calls == [("set_gaze", 0.1, 0.2), ("set_pose", False)]
    assert "'nonsense' is no command" in caplog.text


def test_reading_commands_ends_with_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    readable, writable = os.pipe()
    with os.fdopen(readable) as source, os.fdopen(writable, "w"):
        monkeypatch.setattr(sys, "stdin", source)
        stop = threading.Event()
        thread = read_commands(stop, lambda _: None)
        assert thread is not None
        stop.set()
        thread.join(2.0)
        assert not thread.is_alive()
