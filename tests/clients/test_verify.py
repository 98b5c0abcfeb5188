"""``gohd verify`` on a video that ``gohd render`` made."""

import json
import os
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from clients.cli.main import app
from engine.errors import VideoUnreadable
from tests.command_helper import GOHD, run_gohd


@pytest.fixture(scope="module")
def video(portrait_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    with wave.open(str(folder / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        noise = np.random.default_rng(0).standard_normal(16000)
        file.writeframes((3000 * noise).astype("<i2").tobytes())
    done = run_gohd("render", portrait_path, folder / "voice.wav", "-o", folder / "out.mp4", "--tag", "4711")
    assert done.returncode == 0, done.stderr
    return folder / "out.mp4"


def _verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_rendered_video_is_recognised(video: Path) -> None:
    done = run_gohd("verify", video)
    assert done.returncode == 0, done.stderr
    assert "the watermark is there (tag 4711" in done.stdout
    assert "the video is unchanged" in done.stdout


def test_json_has_the_same(video: Path) -> None:
    verdict = json.loads(_verify(video, "--json").stdout)
    assert verdict["watermark"]["tag"] == 4711
    assert verdict["manifest"]["signed"]
    assert verdict["manifest"]["unchanged"]
    assert verdict["manifest"]["made"]["watermark_tag"] == 4711


def test_changed_video_and_missing_manifest(video: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(video.read_bytes() + b"\0")
    assert "no manifest" in _verify(changed).stdout
    changed.with_name("changed.mp4.json").write_bytes(video.with_name("out.mp4.json").read_bytes())
    done = _verify(changed)
    assert done.exit_code == 0
    assert "changed since" in done.stdout


def test_photograph_is_not_called_generated(portrait_path: Path) -> None:
    done = _verify(portrait_path)
    assert done.exit_code == 1
    assert "no watermark found" in done.stdout


def test_bad_files_and_keys_are_named(tmp_path: Path, video: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    for name in ("none.mp4", "text.mp4"):
        assert isinstance(_verify(tmp_path / name).exception, VideoUnreadable)
    (tmp_path / "key").write_text("short")
    for key, word in (("key", "shorter than 16"), ("nokey", "cannot be read")):
        done = _verify(video, "--key-file", tmp_path / key)
        assert done.exit_code == 2
        assert word in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_without_the_letters_of_a_name_gets_the_verdict(video: Path, tmp_path: Path, encoding: str) -> None:
    """Exit code 1 would say that there is no watermark."""
    named = tmp_path / "\u8096\u50cf.mp4"
    named.write_bytes(video.read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([*GOHD, "verify", str(named)], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"the watermark is there" in done.stdout
