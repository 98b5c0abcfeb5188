"""Options of the commands: handed on to engine and server, or refused with what to do; help that is there at once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from clients.cli import options
from clients.cli.main import app
from engine.errors import BackendUnavailable
from engine.portrait import CROP_SIZES
from server import ServerConfig
from tests.clients.camera_helper import FakeAudio, FakeCamera, device


def _run(*arguments: str | Path) -> None:
    CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize("command", ["render", "camera"])
def test_the_engine_is_loaded_as_the_command_says(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, portrait_path: Path, voice_path: Path
) -> None:
    def load(**settings: Any) -> None:
        assert (settings["device"], settings["backend"], settings["weights"]) == ("cuda", "graph", "mine")
        raise BackendUnavailable("asked for")

    monkeypatch.setattr("engine.load_engine", load)
    libraries = {"pyaudio": FakeAudio([device(0, "headset", inputs=1)])}
    monkeypatch.setattr("clients.audio.open_backend", lambda name: libraries[name])
    monkeypatch.setattr("clients.camera.open_camera", lambda *_: FakeCamera(lambda: 0.0))
    arguments = {
        "render": ["render", portrait_path, voice_path, "-o", tmp_path / "video.mp4", "--device", "cuda"],
        "camera": ["camera", "--portrait", portrait_path, "--compute", "cuda", "--sound", "pyaudio"],
    }
    with pytest.raises(BackendUnavailable, match="asked for"):
        _run(*arguments[command], "--backend", "graph", "--weights", "mine")


def test_the_server_is_configured_as_the_command_says(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[ServerConfig] = []
    monkeypatch.setattr("server.serve", lambda config, **_: served.append(config))
    _run(
        "serve", "--device", "cuda", "--backend", "graph", "--allowed-host", "a.example", "--allowed-host", "b.example"
    )
    (config,) = served
    assert (config.device, config.backend) == ("cuda", "graph")
    assert config.allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        (("--backend", "directml"), "choose one of auto, eager"),
        (("--device", "tpu"), "choose auto, cpu or cuda"),
        (("--device", "cuda"), "no CUDA device"),
    ],
)
def test_what_is_not_here_is_refused_by_name(
    option: tuple[str, str], advice: str, tmp_path: Path, portrait_path: Path, voice_path: Path
) -> None:
    if option == ("--device", "cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    video = tmp_path / "video.mp4"
    with pytest.raises(BackendUnavailable, match=advice):
        _run("render", portrait_path, voice_path, "-o", video, *option)
    assert not video.exists()


def test_help_and_version_load_no_network() -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from clients.cli.main import app\n"
        "for words in (['--help'], ['render', '--help'], ['weights', 'compile', '--help'], ['--version']):\n"
        "    done = CliRunner().invoke(app, words)\n"
        "    assert done.exit_code == 0, done.output\n"
        "assert done.output.startswith('gohd-live'), done.output\n"
        "assert not {'torch', 'cv2', 'numpy'} & set(sys.modules), 'loaded only to print help'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_sizes_are_those_of_the_engine() -> None:
    assert options.SIZES == CROP_SIZES


@pytest.mark.parametrize("command", [("render", "a.jpg", "b.wav", "-o", "c.mp4"), ("serve",)])
def test_a_size_that_is_not_drawn_is_refused(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--size", "500"])
    assert done.exit_code == 2
    assert "1024" in done.output
