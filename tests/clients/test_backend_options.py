"""``--device`` and ``--backend`` of the commands that animate: handed on, or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import clients.cli.camera
import clients.cli.render
import clients.cli.serve
from clients.cli.main import app
from engine.errors import BackendUnavailable


def _taken(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """What the function of a command is called with, in place of running it."""
    calls: list[Any] = []

    def take(*positional: Any, **named: Any) -> bool:
        calls.extend([*positional, *([named] if named else [])])
        return True

    monkeypatch.setattr(module, name, take)
    return calls


def test_the_commands_hand_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = _taken(monkeypatch, clients.cli.render, "render_video")
    served = _taken(monkeypatch, clients.cli.serve, "run_server")
    shown = _taken(monkeypatch, clients.cli.camera, "run_camera")
    for arguments in (
        ["render", "p.jpg", "v.wav", "-o", "f.mp4", "--device", "cuda", "--backend", "graph"],
        ["serve", "--device", "cuda", "--backend", "graph"],
        ["camera", "--portrait", "p.jpg", "--compute", "cuda", "--backend", "graph", "--sound", "pyaudio"],
    ):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert (rendered[0].device, rendered[0].backend) == ("cuda", "graph")
    assert (served[0]["device"], served[0]["backend"]) == ("cuda", "graph")
    assert (shown[0].compute, shown[0].backend, shown[0].sound) == ("cuda", "graph", "pyaudio")


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
    video = tmp_path / "film.mp4"
    with pytest.raises(BackendUnavailable, match=advice):
        CliRunner().invoke(
            app,
            ["render", str(portrait_path), str(voice_path), "-o", str(video), *option],
            catch_exceptions=False,
        )
    assert not video.exists()
