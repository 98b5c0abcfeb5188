"""``gohd weights compile``: builds for cards that are not here, finds again, lists, clears, and refuses with advice."""

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clients.cli.main import app
from engine import load_engine
from engine.animator import FaceAnimatorNetwork
from engine.checkpoint import resolve_weights
from engine.errors import BackendUnavailable, CommandInvalid, WeightsCorrupt, WeightsIncomplete
from tests.animator.neural_cases import GUIDED
from tests.geometric_weights import geometric_weights
from tests.random_weights import randomise_weights
from tests.runtime.frame_cases import HEAD
from train.export import export_network


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("engine.animator.PRESETS", {"small": HEAD})


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["weights", "compile", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_engines_are_built_once_listed_and_cleared() -> None:
    pytest.importorskip("tensorrt_rtx")
    first = _run("--preset", "small", "--target", "sm86,sm89,cpu")
    assert first.count("built in") == 3
    assert "tensorrt-rtx" in first
    assert _run("--preset", "small", "--target", "SM86").count("was there") == 1
    listed = _run("--list")
    # the two engines, the network that they were built from and the CPU's
    assert "4 engines" in listed
    assert "sm86" in listed
    assert _run("--clear").startswith("freed")
    assert "0 engines, 0.0 MiB" in _run("--list")


def test_what_cannot_be_built_is_refused_before_anything_is(tmp_path: Path) -> None:
    geometric = str(geometric_weights(tmp_path / "geometric"))
    for arguments, error, advice in (
        (("--target", "sm86,rtx"), CommandInvalid, "sm86"),
        (("--preset", "huge", "--target", "cpu"), CommandInvalid, "one of small"),
        (("--weights", geometric, "--target", "cpu"), WeightsIncomplete, "--preset paper"),
        (("--preset", "small", "--target", "cpu", "--precision", "fp8"), CommandInvalid, "fp16"),
        (("--preset", "small", "--target", "cpu", "--layout", "yuy2"), CommandInvalid, "rgb, i420"),
        (("--preset", "small", "--target", "sm86", "--rows", "two"), CommandInvalid, "1,2,4,8,16"),
        (("--preset", "small", "--target", "cpu", "--rows", "1,65"), CommandInvalid, "1 to 64 rows"),
        (("--preset", "small", "--target", "cpu", "--bundle"), CommandInvalid, "--bundle"),
        (("--target", "sm86", "--bundle"), CommandInvalid, "--bundle"),
    ):
        with pytest.raises(error, match=advice):
            _run(*arguments)
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BackendUnavailable, match="--via tensorrt on the card itself"):
        _run("--preset", "small", "--via", "tensorrt-rtx", "--target", "sm90")
    assert "0 engines" in _run("--list")


def test_weights_can_bring_their_network_for_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing on the machine needs to export it; and it is of those weights alone."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    folder = tmp_path / "weights"
    shutil.copytree(resolve_weights("default"), folder)
    layout = dataclasses.replace(GUIDED, widths=(8, 8, 8, 8, 8, 8))

    def export(seed: int) -> None:
        network = FaceAnimatorNetwork(layout)
        randomise_weights(network, seed)
        sections = {"neural_animator": layout, "animator": "neural"}
        export_network(folder, "animator", network, sections=sections, training={})

    (folder / "animator-000000000000.onnx").write_bytes(b"of older weights")
    export(1)
    assert "kept in" in _run("--weights", str(folder), "--target", "cpu", "--bundle")
    (bundled,) = folder.glob("*.onnx")
    assert bundled.name in (folder / "SHA256SUMS").read_text()
    _run("--clear")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name))
    assert load_engine(folder, "cpu").animator.backend == "onnx"  # type: ignore[attr-defined]
    export(2)
    assert load_engine(folder, "cpu").animator.backend == "eager"  # type: ignore[attr-defined]
    bundled.write_bytes(b"something else")
    with pytest.raises(WeightsCorrupt, match="differs"):
        load_engine(folder, "cpu")
