"""``gohd weights compile``: builds for cards that are not here, finds again, lists, clears, and refuses with advice."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import clients.cli.compile as compilation
from clients.cli.main import app
from engine.animator import FaceAnimatorConfig
from engine.errors import BackendUnavailable, CommandInvalid, WeightsIncomplete
from tests.runtime.frame_cases import HEAD


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(FaceAnimatorConfig, "lite", classmethod(lambda cls: HEAD))


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["weights", "compile", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_engines_are_built_once_listed_and_cleared() -> None:
    pytest.importorskip("tensorrt_rtx")
    first = _run("--preset", "lite", "--target", "sm86,sm89,cpu")
    assert first.count("built in") == 3
    assert "tensorrt-rtx" in first
    assert _run("--preset", "lite", "--target", "SM86").count("was there") == 1
    listed = _run("--list")
    # the two engines, the network that they were built from and the CPU's
    assert "4 engines" in listed
    assert "sm86" in listed
    assert _run("--clear").startswith("freed")
    assert "0 engines, 0.0 MiB" in _run("--list")


def test_what_cannot_be_built_is_refused_before_anything_is() -> None:
    assert compilation.CompileRequest().targets == ()
    for arguments, error, advice in (
        (("--target", "sm86,rtx"), CommandInvalid, "sm86"),
        (("--preset", "huge", "--target", "cpu"), CommandInvalid, "paper, lite"),
        (("--target", "cpu"), WeightsIncomplete, "--preset paper"),
        (("--preset", "lite", "--target", "cpu", "--precision", "fp8"), CommandInvalid, "fp16"),
        (("--preset", "lite", "--target", "cpu", "--layout", "yuy2"), CommandInvalid, "rgb, i420"),
        (("--preset", "lite", "--target", "sm86", "--rows", "two"), CommandInvalid, "1,2,4,8,16"),
        (("--preset", "lite", "--target", "cpu", "--rows", "1,65"), CommandInvalid, "1 to 64 rows"),
    ):
        with pytest.raises(error, match=advice):
            _run(*arguments)
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BackendUnavailable, match="--via tensorrt on the card itself"):
        _run("--preset", "lite", "--via", "tensorrt-rtx", "--target", "sm90")
    assert "0 engines" in _run("--list")
