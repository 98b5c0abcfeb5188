"""The README's measured tables are those of the newest result files."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report.command import result_name
from benchmarks.report.readme_table import filled, newest

_ROOT = Path(__file__).resolve().parents[2]
_MARKERS = "<!-- measured: python -m benchmarks.report.readme_table -->\nold\n<!-- /measured -->"
_XEON = {"cpu": "Intel(R) Xeon(R) Processor @ 2.8GHz", "cores": 2, "torch_threads": 1}


def _latency(fps: float, **more: Any) -> dict[str, Any]:
    times = {"p50": 7.04, "p95": 8.0, "p99": 9.0}
    return {
        "hardware": _XEON,
        "config": {"weights": "default", "backend": "geometric"},
        "frames": 499,
        "fps": fps,
        "animator_fps": 2 * fps,
        "lookahead_ms": 80.0,
        "stages_ms": {"animator": times},
        "latency_ms": times,
        **more,
    }


def _gpu() -> dict[str, Any]:
    step = {"preset": "paper", "backend": "graph", "batch": 1, "fps": 1250.0, "share_of_matrix_ceiling": 0.2}
    return {
        "hardware": {"gpu": "A card", "cpu": "x", "cores": 8},
        "quick": False,
        "steps": [step | {"frame_ms": {"p50": 0.8, "p95": 0.81, "p99": 0.9}}],
        "targets": [{"what": "a frame", "target": "<= 1", "measured": 0.8, "met": True}],
    }


def _sessions() -> dict[str, Any]:
    level = {"sessions": 2, "misses": 0.004, "fps_least": 25.0, "made_ms": {"p50": 18, "p95": 20, "p99": 31}}
    return {
        "hardware": _XEON,
        "config": {"weights": "default", "backend": "geometric", "slot_ms": 40.0},
        "levels": [level, level | {"sessions": 3, "misses": 1.0, "fps_least": 0.0, "made_ms": None}],
    }


def _write(folder: Path, name: str, report: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(report))


def test_the_readme_is_in_step_with_the_results() -> None:
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert filled(readme, _ROOT / "benchmarks" / "results") == readme


def test_the_newest_of_each_theme_and_hardware_is_shown(tmp_path: Path) -> None:
    _write(tmp_path, "latency-xeon-2core-2026-01-09.json", _latency(40))
    _write(tmp_path, "latency-xeon-2core-2026-02-01.json", _latency(47))
    _write(tmp_path, "latency-epyc-8core-2025-12-31.json", _latency(99))
    _write(tmp_path, "latency-m3-8core-2026-12-31.json", _latency(1, quick=True))
    _write(tmp_path, "gpu-a-card-2026-02-02.json", _gpu())
    _write(tmp_path, "sessions-xeon-2core-2026-02-02.json", _sessions())
    _write(tmp_path, "watermark-xeon-2core-2026-02-03.json", {})
    text = filled(f"# Title\n\n{_MARKERS}\n\nThe rest.\n", tmp_path)
    assert text.startswith("# Title\n\n<!--")
    assert text.endswith("<!-- /measured -->\n\nThe rest.\n")
    assert "old" not in text
    assert "47 frames a second" in text
    assert "99 frames a second" in text
    assert "40 frames a second" not in text
    assert "| animator | 7.0 | 8.0 | 9.0 |" in text
    assert "| paper | graph | 1 | 0.80 | 0.81 | 0.90 | 1250 | 20 % |" in text
    assert "| a frame | <= 1 | 0.8 | yes |" in text
    assert "| 2 | 0.4 % | 25.0 | 18 | 20 | 31 |" in text
    assert "| 3 | 100.0 % | 0.0 | - | - | - |" in text
    assert [theme for theme, _, _ in newest(tmp_path)] == ["latency", "latency", "sessions", "gpu"]
    assert filled(text, tmp_path) == text


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        filled("# Title\n", tmp_path)


def test_results_are_named_by_what_they_ran_on() -> None:
    assert result_name("latency", _XEON, "2026-11-22") == "latency-xeon-2core-2026-11-22.json"
    card = {"gpu": "NVIDIA H200", "cpu": "x", "cores": 1}
    assert result_name("gpu", card, "2026-11-22") == "gpu-nvidia-h200-2026-11-22.json"
