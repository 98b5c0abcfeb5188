"""The suite for graphics cards runs here with a small network; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_report import predictions
from benchmarks.naive_animator import naive_network
from engine.animator import FaceAnimatorNetwork
from tests.animator.neural_cases import SMALL, inputs
from tests.drawn_weights import draw_weights

_ROOT = Path(__file__).resolve().parents[2]


def test_the_naive_form_makes_the_pictures_of_ours() -> None:
    network = FaceAnimatorNetwork(SMALL)
    draw_weights(network)
    naive = naive_network(SMALL, network.state_dict())
    rgb, window = inputs(SMALL)
    with torch.inference_mode():
        ours, theirs = network.freeze()(rgb, window), naive(rgb, window)
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(ours.abs().max())


def test_predictions_scale_by_the_ceilings() -> None:
    row = {"preset": "paper", "backend": "graph", "batch": 1, "frame_ms": {"p50": 2.0}}
    (prediction,) = predictions({"ceilings": {"matrix_tflops": 710.0, "copy_gbs": 1872.0}, "steps": [row]})
    assert (prediction["low_ms"], prediction["high_ms"]) == (4.0, 20.0)


@pytest.mark.slow
def test_the_suite_runs_without_a_card(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu_suite",
        "--device",
        "cpu",
        "--quick",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=_ROOT, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("gpu-cpu-*.json")
    report = json.loads(path.read_text())
    assert {(row["backend"], row["batch"]) for row in report["steps"]} == {
        (backend, batch) for backend in ("eager", "onnx") for batch in (1, 16)
    }
    for row in report["steps"]:
        assert row["frame_ms"]["p50"] <= row["frame_ms"]["p99"]
        assert row["error_levels"]["largest"] <= 1
    assert report["naive"][0]["largest_error"] <= 1
    assert {row["form"] for row in report["poses"]} == {"eager", "captured"}
    assert report["hardware"]["cores"] >= 1
    assert "onnxruntime" in report["versions"]
    assert path.with_suffix(".md").read_text() in done.stdout
    assert bool(report["engines"]) != bool(report["skipped"])
