"""The suite for graphics cards runs here with a small network; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from benchmarks.gpu.children import Child, children
from benchmarks.gpu.naive_animator import naive_network
from benchmarks.gpu.report import markdown, targets
from benchmarks.gpu.suite import Suite
from engine.animator import FaceAnimatorNetwork
from engine.animator.network.motion_basis import MotionBasis
from engine.runtime import EngineCache
from tests.animator.neural_cases import SMALL, inputs
from tests.random_weights import randomise_weights

_ROOT = Path(__file__).resolve().parents[2]


def test_the_naive_form_makes_the_images_of_ours() -> None:
    network = FaceAnimatorNetwork(SMALL)
    randomise_weights(network)
    naive = naive_network(SMALL, network.state_dict())
    rgb, window = inputs(SMALL)
    with torch.inference_mode():
        ours, theirs = network.freeze()(rgb, window), naive(rgb, window)
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(ours.abs().max())


def _report(**more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"quick": False, "steps": [], "naive": [], "poses": [], "children": []}
    return empty | more


def test_targets_are_met_missed_or_not_measured() -> None:
    assert [row["met"] for row in targets(_report())] == [None] * 6
    steps = [
        {
            "preset": "paper",
            "backend": backend,
            "batch": batch,
            "frame_ms": {"p50": milliseconds},
            "share_of_matrix_ceiling": share,
        }
        for backend, batch, milliseconds, share in (
            ("eager", 1, 0.1, 0.9),
            ("graph", 1, 1.2, 0.1),
            ("tensorrt", 1, 0.8, 0.2),
            ("tensorrt", 16, 5.0, 0.3),
        )
    ]
    report = _report(
        steps=steps,
        naive=[
            {"preset": "paper", "dtype": dtype, "frame_ms": {"p50": milliseconds}}
            for dtype, milliseconds in (("float16", 4.0), ("float32", 8.0))
        ],
        poses=[{"hop_ms": {"p50": 9}}, {"hop_ms": {"p50": 2.5}}],
        children=[
            {"name": "sessions", "report": {"sessions": 80, "misses": 0.001}},
            {"name": "sanitizer", "report": {"skipped": None, "tools": [{"clean": True}, {"clean": True}]}},
        ],
    )
    rows = targets(report)
    assert [row["measured"] for row in rows] == [0.8, 10.0, 0.3, 2.5, 80, 0]
    assert [row["met"] for row in rows] == [True, True, False, True, True, True]


def test_children_that_fail_hang_or_need_a_card_do_not_stop_the_suite() -> None:
    def child(name: str, *arguments: str, **more: Any) -> Child:
        module = "tests.benchmarks.child_program"
        return Child(name=name, module=module, most_s=more.pop("most_s", 20.0), arguments=arguments, **more)

    which = (
        child("good"),
        child("bad", "--fail"),
        child("slow", "--hang", most_s=1.0),
        child("card", needs_cuda=True),
    )
    rows, skipped, failed = children("cpu", quick=False, budget_s=60.0, which=which)
    assert [(row["name"], row["report"]) for row in rows] == [("good", {"device": "cpu"})]
    words = {row["what"]: row["traceback"] for row in failed}
    assert "ended with 3: no such thing" in words["bad"]
    assert "longer than 1 s" in words["slow"]
    assert [(row["what"], row["reason"]) for row in skipped] == [("card", "needs a CUDA device")]
    assert children("cpu", quick=False, budget_s=0.0, which=which[:1])[1][0]["reason"].startswith("the time")


@pytest.mark.slow
def test_the_suite_runs_without_a_card(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu.suite",
        "--device",
        "cpu",
        "--quick",
        "--without",
        "children,engines",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=_ROOT, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("gpu-*core-*.json")
    report = json.loads(path.read_text())
    assert {(row["preset"], row["backend"], row["batch"]) for row in report["steps"]} == {
        (preset, backend, batch)
        for preset in ("small", "guided_lite")
        for backend in ("eager", "onnx")
        for batch in (1, 16)
    }
    for row in report["steps"]:
        assert row["frame_ms"]["p50"] <= row["frame_ms"]["p99"]
        assert row["error_levels"]["largest"] <= 1
    assert report["naive"][0]["largest_error"] <= 1
    assert {row["hop_frames"] for row in report["poses"]} == {3, 5}
    assert report["hardware"]["cores"] >= 1
    assert "onnxruntime" in report["gpu_versions"]
    assert path.with_suffix(".md").read_text() in done.stdout
    assert report["skipped"] == []
    assert {row["stage"] for row in report["stages"]} >= {"decoder", "label and mark"}
    assert report["ceilings"]["matrix_tflops"] > 0
    assert [row["met"] for row in report["targets"]] == [None] * 6


def test_a_section_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was done before is written by then."""
    suite = Suite(torch.device("cpu"), quick=True, minutes=5.0, cache=EngineCache(tmp_path))

    def broken() -> NoReturn:
        raise RuntimeError("no such operation on this card")

    monkeypatch.setattr(suite, "stages", broken)
    states = list(suite.run(without=("engines", "steps", "children", "live", "compiled")))
    assert [len(state["naive"]) for state in states] == [0, 1, *[1] * 6]
    report = states[-1]
    assert {row["hop_frames"] for row in report["poses"]} == {3, 5}
    assert [row["what"] for row in report["failed"]] == ["stages"]
    assert "no such operation on this card" in report["failed"][0]["traceback"]
    assert "broken" in report["failed"][0]["traceback"], "with the place"
    text = markdown(report | {"hardware": {"cpu": "any"}, "versions": {}, "date": "2026-12-01"})
    assert "no such operation" in text


def test_half_precision_has_a_motion_basis() -> None:
    """No device decomposes it: QR is taken in float32."""
    basis = MotionBasis(8, 4).half()
    assert basis(torch.ones(1, 4).half()).dtype == torch.float16
