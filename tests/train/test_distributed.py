"""Two CPU processes under torchrun: they see the batch that one process sees, end together, and say what was wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from curve_task import CurveTask, trainer_config
from safetensors.torch import load_file
from torch import nn

from train.distributed import Processes, gather_rows
from train.trainer import CHECKPOINT, train

_ROOT = Path(__file__).resolve().parents[2]


def _torchrun(*arguments: str, cwd: Path = _ROOT) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *arguments,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have run all scenarios of `distributed_worker`."""
    folder = tmp_path_factory.mktemp("distributed")
    done = _torchrun(str(Path(__file__).with_name("distributed_worker.py")), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _happened(out: Path, scenario: str) -> list[dict[str, Any]]:
    return [json.loads((out / f"process-{rank}.json").read_text())[scenario] for rank in range(2)]


def _logged(folder: Path, key: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


@pytest.mark.parametrize(("scenario", "changes"), [("two", {"correlation": 0.5}), ("accumulated", {})])
def test_two_processes_follow_one_with_the_double_batch(
    out: Path, tmp_path: Path, scenario: str, changes: dict[str, float]
) -> None:
    train(CurveTask(**changes), trainer_config(tmp_path))  # type: ignore[arg-type]
    for key in ("net/loss", "judge/loss"):
        expected = _logged(tmp_path, key)
        found = _logged(out / scenario, key)
        assert len(found) == 12  # the leader alone has written
        assert found == pytest.approx(expected, rel=2e-4, abs=2e-5)
    leader, other = _happened(out, scenario)
    assert leader["figures"] == pytest.approx({"held_out": _logged(tmp_path, "held_out")[-1]}, rel=1e-3)
    assert other["figures"] == {}


def test_stop_of_one_process_stops_all_after_the_same_step_and_resumes_bit_for_bit(out: Path) -> None:
    assert [(end["step"], end["stopped"]) for end in _happened(out, "stopped")] == [(6, True)] * 2
    assert [(end["step"], end["stopped"]) for end in _happened(out, "resumed")] == [(12, False)] * 2
    whole, parts = load_file(out / "whole" / CHECKPOINT), load_file(out / "stopped" / CHECKPOINT)
    assert set(whole) == set(parts)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert _logged(out / "whole", "net/loss") == _logged(out / "stopped", "net/loss")


@pytest.mark.parametrize(("scenario", "rows"), [("bad", "rows 6 to 11"), ("bad_gathered", "rows 9 to 11")])
def test_bad_batch_of_one_process_is_named_by_all(out: Path, scenario: str, rows: str) -> None:
    for end in _happened(out, scenario):
        assert end["error"] == "NonFiniteLoss"
        assert "step 3: process 1: loss of 'judge' is nan" in end["text"]
        assert rows in end["text"]


def test_batch_that_does_not_divide_is_refused_by_all(out: Path) -> None:
    for end in _happened(out, "indivisible"):
        assert end["error"] == "CommandInvalid"
        assert "9 rows cannot be cut into 2 equal shares" in end["text"]


def test_full_disk_of_the_leader_ends_all(out: Path) -> None:
    for end in _happened(out, "full"):
        assert end["error"] == "OutputUnwritable"
        assert "No space left on device" in end["text"]


def test_recipe_under_torchrun_follows_the_same_recipe_alone(tmp_path: Path) -> None:
    """`torchrun -m train` as the README says it."""
    arguments = ["-m", "train", "toy_pose", "trainer.steps=10", "trainer.log_every=1"]
    done = _torchrun(*arguments, "trainer.out=two", "weights=exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("pose/loss") == 1
    alone = subprocess.run(
        [sys.executable, *arguments, "trainer.out=one"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert alone.returncode == 0
    expected = _logged(tmp_path / "one", "pose/loss")
    assert _logged(tmp_path / "two", "pose/loss") == pytest.approx(expected, rel=2e-4)
    assert (tmp_path / "exported" / "SHA256SUMS").is_file()


def test_one_process_needs_no_group() -> None:
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    before = gradient.clone()
    Processes().average_gradients(list(layer.parameters()))
    assert torch.equal(gradient, before)
    rows = torch.ones(3, 1)
    assert gather_rows(rows) is rows
    assert Processes().texts("a") == ["a"]
