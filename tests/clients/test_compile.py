"""``gohd weights compile``: builds for cards that are not here, finds again, lists, clears, and refuses with advice."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from clients.cli.main import app
from engine import load_engine
from engine.animator import FaceAnimatorNetwork
from engine.checkpoint import WeightsFolder, resolve_weights, write_checksums
from engine.errors import BackendUnavailable, CommandInvalid, WeightsCorrupt, WeightsIncomplete
from engine.motion.diffusion.window import PoseWindow
from engine.motion.driver import MotionNetworks
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
    _change_config(folder, gaze=None, pose_window={"steps": 1})
    layout = dataclasses.replace(GUIDED, widths=(8, 8, 8, 8, 8, 8))

    def export(seed: int) -> None:
        network = FaceAnimatorNetwork(layout)
        randomise_weights(network, seed)
        sections = {"neural_animator": layout, "animator": "neural"}
        export_network(folder, "animator", network, sections=sections, training={})

    (folder / "animator-000000000000.onnx").write_bytes(b"of older weights")
    export(1)
    assert "kept in" in _run("--weights", str(folder), "--target", "cpu", "--bundle")
    bundled, pose = sorted(folder.glob("*.onnx"))
    assert pose.name.startswith("pose-")
    assert all(file.name in (folder / "SHA256SUMS").read_text() for file in (bundled, pose))
    _run("--clear")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name))
    assert load_engine(folder, "cpu").animator.backend == "onnx"  # type: ignore[attr-defined]
    assert _hops_apart(folder) == pytest.approx(0, abs=1e-5)
    _change_config(folder, pose_window={"temperature": 1.5})
    assert _hops_apart(folder) == 0, "made with other settings, it is not asked for"
    export(2)
    assert load_engine(folder, "cpu").animator.backend == "eager"  # type: ignore[attr-defined]
    bundled.write_bytes(b"something else")
    with pytest.raises(WeightsCorrupt, match="differs"):
        load_engine(folder, "cpu")


def _change_config(folder: Path, **sections: dict[str, object] | None) -> None:
    """Change fields of sections of ``config.json``, or take a section out."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, fields in sections.items():
        if fields is None:
            del config[name]
        else:
            config[name] |= fields
    path.write_text(json.dumps(config))
    write_checksums(folder)


def _hops_apart(folder: Path) -> float:
    """By how much poses of the weights' window, as it runs here, differ from those of its eager form."""
    window = MotionNetworks.load(WeightsFolder.open(folder), torch.device("cpu")).pose
    eager = PoseWindow(window.denoiser, window.config)
    prosody, initial = torch.randn(2, 30, 320) - 1, torch.randn(2, 6) / 10
    ours, expected = (each.forward(prosody, initial, [1, 2]) for each in (window, eager))
    return float((ours - expected).abs().max())
