"""``gohd render`` as a user runs it: the real command, the video decoded again."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clients.cli.video import Voice
from engine.errors import AudioUnreadable
from engine.media import MediaFile
from engine.postprocess.manifest import manifest_path
from tests.command_helper import GOHD, run_gohd


def _write_wav(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def _video(path: Path) -> tuple[list[np.ndarray], float]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    return frames, seconds


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of telephone audio: 8 kHz."""
    t = np.arange(8000) / 8000
    return _write_wav(tmp_path_factory.mktemp("tone") / "tone.wav", 0.3 * np.sin(2 * np.pi * 200 * t), 8000)


def test_video_has_image_and_audio_of_the_same_length(portrait_path: Path, tone: Path, tmp_path: Path) -> None:
    done = run_gohd("render", portrait_path, tone, "-o", tmp_path / "out.mp4", "--gaze", "0.1,-0.3", "--seed", "5")
    assert done.returncode == 0, done.stderr
    frames, seconds = _video(tmp_path / "out.mp4")
    assert len(frames) == 25
    assert seconds == pytest.approx(1.0, abs=0.07)
    assert frames[0].shape == (512, 512, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.mp4.json"]


def test_intensity_0_is_a_still_face(portrait_path: Path, tone: Path, tmp_path: Path) -> None:
    done = run_gohd("render", portrait_path, tone, "-o", tmp_path / "out.mp4", "--intensity", "0")
    assert done.returncode == 0, done.stderr
    frames, _ = _video(tmp_path / "out.mp4")
    # What is left is the video codec's.
    assert max(np.abs(frame.astype(int) - frames[0]).mean() for frame in frames) < 1.5


def test_same_seed_same_video(portrait_path: Path, tone: Path, tmp_path: Path) -> None:
    videos = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        done = run_gohd("render", portrait_path, tone, "-o", tmp_path / f"{name}.mp4", "--seed", str(seed))
        assert done.returncode == 0, done.stderr
        videos.append(np.stack(_video(tmp_path / f"{name}.mp4")[0]))
    assert np.array_equal(videos[0], videos[1])
    assert not np.array_equal(videos[0], videos[2])


def test_a_video_can_drive(portrait_path: Path, tone: Path, tmp_path: Path) -> None:
    driver = tmp_path / "driver.mp4"
    assert run_gohd("render", portrait_path, tone, "-o", driver, "--gaze", "0,0.5").returncode == 0
    done = run_gohd(
        "render",
        portrait_path,
        tone,
        "-o",
        tmp_path / "out.mp4",
        "--drive-video",
        driver,
        "--drive",
        "gaze,pose",
    )
    assert done.returncode == 0, done.stderr
    assert len(_video(tmp_path / "out.mp4")[0]) == 25


@pytest.mark.parametrize(
    ("portrait", "audio", "output", "extra", "says"),
    [
        ("missing.jpg", None, "out.mp4", [], "missing.jpg"),
        ("notes.txt", None, "out.mp4", [], "image"),
        ("grey.png", None, "out.mp4", [], "face"),
        (None, "notes.txt", "out.mp4", [], "notes.txt"),
        (None, "empty.wav", "out.mp4", [], "empty.wav"),
        (None, None, "no/such/folder/out.mp4", [], "folder"),
        (None, None, "out.mp4", ["--gaze", "up"], "radians"),
        (None, None, "out.mp4", ["--gaze", "0,9"], "radians"),
        (None, None, "out.mp4", ["--drive-video", "notes.txt"], "notes.txt"),
        (None, None, "out.mp4", ["--drive-video", "x.mp4", "--drive", "hair"], "hair"),
        (None, None, "out.mp4", ["--frame", "round"], "crop"),
        (None, None, "out.mp4", ["--intensity", "2"], "intensity"),
        (None, None, "out.mp4", ["--weights", "no-such-weights"], "no-such-weights"),
    ],
)
def test_mistakes_get_one_clear_line_and_leave_nothing(
    portrait_path: Path,
    tone: Path,
    tmp_path: Path,
    portrait: str | None,
    audio: str | None,
    output: str,
    extra: list[str],
    says: str,
) -> None:
    (tmp_path / "notes.txt").write_text("this is neither an image nor audio\n" * 50)
    (tmp_path / "empty.wav").touch()
    Image.new("RGB", (300, 300), (90, 90, 90)).save(tmp_path / "grey.png")
    before = sorted(tmp_path.iterdir())
    extra = [str(tmp_path / word) if "." in word and "," not in word else word for word in extra]
    done = run_gohd(
        "render",
        portrait_path if portrait is None else tmp_path / portrait,
        tone if audio is None else tmp_path / audio,
        "-o",
        tmp_path / output,
        *extra,
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_ctrl_c_leaves_a_playable_video(portrait_path: Path, tmp_path: Path) -> None:
    t = np.arange(16_000 * 120) / 16_000
    long = _write_wav(tmp_path / "long.wav", 0.2 * np.sin(2 * np.pi * 150 * t), 16_000)
    command = [*GOHD, "render", str(portrait_path), str(long), "-o", str(tmp_path / "out.mp4")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 30_000 for path in tmp_path.glob(".gohd-*.part")):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in errors
    frames, _ = _video(tmp_path / "out.mp4")
    assert len(frames) > 25
    assert not list(tmp_path.glob(".gohd-*.part"))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a POSIX system")
def test_an_hour_of_audio_needs_bounded_memory() -> None:
    """An hour of audio stays within 60 MB of what ten seconds need."""
    script = (
        "import numpy as np, resource, sys\n"
        "from engine.audio.frontend import AudioFrontend\n"
        "frontend = AudioFrontend()\n"
        "def hear(seconds):\n"
        "    for _ in range(seconds):\n"
        "        for block in frontend.blocks(np.zeros(16000, np.float32), 16000): frontend.hear(block)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "first = hear(10)\n"
        "print((hear(3600) - first) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 60


@pytest.mark.parametrize("kept", ["portrait.jpg", "voice.wav", "drive.mp4"])
@pytest.mark.parametrize("named", ["itself", "link", "hard link"])
def test_an_output_that_is_an_input_is_refused_before_anything_is_written(
    kept: str, named: str, portrait_path: Path, tone: Path, tmp_path: Path
) -> None:
    for name, source in (("portrait.jpg", portrait_path), ("voice.wav", tone), ("drive.mp4", tone)):
        (tmp_path / name).write_bytes(source.read_bytes())
    output = tmp_path / kept if named == "itself" else tmp_path / "film.mp4"
    if named == "link":
        output.symlink_to(kept)
    elif named == "hard link":
        output.hardlink_to(tmp_path / kept)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    inputs = (tmp_path / "portrait.jpg", tmp_path / "voice.wav", "--drive-video", tmp_path / "drive.mp4")
    done = run_gohd("render", *inputs, "-o", output)
    assert done.returncode == 2
    assert "give the video another name" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_where_the_note_would_go_is_left_alone(
    portrait_path: Path, tone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "out.mp4.json").write_text('{"notes": "mine"}')
    done = run_gohd("render", portrait_path, tone, "-o", tmp_path / "out.mp4", "--backend", "geometric")
    assert done.returncode == 0
    assert "is no manifest" in caplog.text
    assert (tmp_path / "out.mp4.json").read_text() == '{"notes": "mine"}'


def test_the_note_has_the_digests_of_what_was_read(portrait_path: Path, tone: Path, tmp_path: Path) -> None:
    """Through a pipe, whose bytes are gone afterwards."""
    pipe = tmp_path / "voice"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(tone.read_bytes(),))
    writer.start()
    done = run_gohd("render", portrait_path, pipe, "-o", tmp_path / "out.mp4", "--backend", "geometric")
    writer.join()
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "out.mp4.json").read_text())["made"]
    assert made["voice_sha256"] == hashlib.sha256(tone.read_bytes()).hexdigest()
    assert made["portrait_sha256"] == hashlib.sha256(portrait_path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("length", "noted"), [(236, True), (247, False)])
def test_a_name_may_be_as_long_as_the_file_system_allows(
    length: int, noted: bool, portrait_path: Path, tone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / ("a" * length + ".mp4")
    done = run_gohd("render", portrait_path, tone, "-o", output, "--backend", "geometric")
    assert done.returncode == 0, done.stderr
    assert output.is_file()
    assert manifest_path(output).exists() if noted else "no signed manifest" in caplog.text
    assert run_gohd("verify", output).returncode == 0


def test_a_user_without_a_home_gets_a_film_and_a_word_about_the_note(
    portrait_path: Path,
    tone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    done = run_gohd("render", portrait_path, tone, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "XDG_CONFIG_HOME" in caplog.text
    assert len(_video(tmp_path / "out.mp4")[0]) == 25


def test_a_recording_without_speech_is_said_to_have_none(
    portrait_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = 0.003 * np.random.default_rng(0).standard_normal(16_000)
    path = _write_wav(tmp_path / "noise.wav", noise, 16_000)
    done = run_gohd("render", portrait_path, path, "-o", tmp_path / "out.mp4", "--backend", "geometric")
    assert done.returncode == 0
    assert "no speech was found" in caplog.text


def test_the_sound_of_51_channels_is_mixed_as_their_layout_says(tmp_path: Path) -> None:
    """A voice in the centre is 3 dB quieter in both, not an average of six."""
    tone = (0.5 * np.sin(2 * np.pi * 300 * np.arange(48_000) / 48_000)).astype(np.float32)
    planes = np.zeros((6, len(tone)), np.float32)
    planes[2] = tone
    with av.open(str(tmp_path / "centre.flac"), "w") as output:
        stream = output.add_stream("flac", rate=48_000, layout="5.1")
        frame = av.AudioFrame.from_ndarray((planes * 32767).astype(np.int16).T.reshape(1, -1), "s16", "5.1")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    mixed = np.concatenate(list(Voice(MediaFile(tmp_path / "centre.flac", AudioUnreadable))))
    assert mixed.shape == (48_000, 2)
    assert 20 * np.log10(mixed.std() / tone.std()) == pytest.approx(-3, abs=0.2)
