"""The latency benchmark runs as its README says and reports what others read; no time is asserted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.latency import StageClock, paced

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


class _Made:
    """A session whose first frame takes five seconds, as where something is compiled at first use, and others 10 ms."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._samples = 0
        self._index = 0

    def stream_pcm(self, chunk: np.ndarray, rate_hz: int) -> Iterator[Any]:
        self._samples += len(chunk)
        while (self._index + 1) * 640 <= self._samples:
            self.now_s += 5.0 if self._index == 0 else 0.01
            yield SimpleNamespace(index=self._index, pts_samples=640 * self._index)
            self._index += 1


def test_what_the_warm_up_takes_is_not_waited_for() -> None:
    made = _Made()
    clock = StageClock(lambda: made.now_s)
    measured = paced(cast(Any, made), np.zeros(3 * 16_000, np.float32), lambda frame: None, clock)
    assert measured.latency_ms == pytest.approx([50.0] * 50, abs=1e-6), "40 of the frame and 10 of work"
    assert measured.busy_s == pytest.approx(0.5)


@pytest.mark.gpu
def test_runs_on_a_cuda_device(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    command = [sys.executable, "benchmarks/latency.py", "--device", "cuda", "--seconds", "1"]
    assert subprocess.run(command, timeout=120, cwd=_ROOT, check=False).returncode == 0
