"""The latency benchmark runs as its README says and reports what others read; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


def test_report_has_every_figure(tmp_path: Path) -> None:
    options = ["--device", "cpu", "--quick", "--preset", "guided_lite", "--backend", "eager", "--json"]
    done = subprocess.run(
        [sys.executable, "benchmarks/latency.py", *options, str(tmp_path / "latency.json")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=_ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "latency.json").read_text())
    assert report["fps"] > 0
    assert report["animator_fps"] >= report["fps"]
    latency = report["latency_ms"]
    assert report["lookahead_ms"] <= latency["p50"] <= latency["p95"] <= latency["p99"]
    assert set(report["stages_ms"]) == {
        "audio",
        "lip",
        "eye",
        "pose",
        "mixer",
        "animator",
        "finish",
        "encode",
    }
    assert report["config"]["backend"] == "eager"
    floor = report["floor"]
    assert floor["matrix_tflops"] > 0
    assert floor["copy_gbs"] > 0
    assert 0 < floor["animator_ms"] < report["stages_ms"]["animator"]["p50"]
    assert report["hardware"]["cores"] >= 1
    assert "torch" in report["versions"]
    assert "whole session" in done.stdout


@pytest.mark.gpu
def test_runs_on_a_cuda_device(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    command = [sys.executable, "benchmarks/latency.py", "--device", "cuda", "--seconds", "1"]
    assert subprocess.run(command, timeout=120, cwd=_ROOT, check=False).returncode == 0
