"""Two CPU processes under torchrun: they see the batch that one process sees, end together, and say what was wrong."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from engine.errors import BackendUnavailable, CommandInvalid
from tests.train.curve_task import CurveTask, trainer_config
from train import run as train_recipe
from train.distributed import Processes, gather_rows
from train.trainer import CHECKPOINT, train

_ROOT = Path(__file__).resolve().parents[2]
_TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


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
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False)


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


@pytest.mark.parametrize(
    ("scenario", "changes"),
    [("two", {"correlation": 0.5}), ("normalised", {"normalised": True}), ("accumulated", {})],
)
def test_two_processes_follow_one_with_the_double_batch(
    out: Path, tmp_path: Path, scenario: str, changes: dict[str, float]
) -> None:
    train(CurveTask(**changes), trainer_config(tmp_path))  # type: ignore[arg-type]
    for key in ("net/loss", "judge/loss"):
        expected = _logged(tmp_path, key)
        found = _logged(out / scenario, key)
        assert len(found) == 12  # the leader alone has written
        assert found == pytest.approx(expected, rel=1e-5)
    leader, other = _happened(out, scenario)
    assert leader["figures"] == pytest.approx({"held_out": _logged(tmp_path, "held_out")[-1]}, rel=1e-4)
    assert other["figures"] == {}


def test_stop_of_one_process_stops_all_after_the_same_step_and_resumes_bit_for_bit(out: Path) -> None:
    assert [(end["step"], end["stopped"]) for end in _happened(out, "stopped")] == [(6, True)] * 2
    assert [(end["step"], end["stopped"]) for end in _happened(out, "resumed")] == [(12, False)] * 2
    whole, parts = load_file(out / "whole" / CHECKPOINT), load_file(out / "stopped" / CHECKPOINT)
    assert set(whole) == set(parts)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert _logged(out / "whole", "net/loss") == _logged(out / "stopped", "net/loss")


def test_run_of_two_processes_goes_on_in_one(out: Path) -> None:
    assert [end["step"] for end in _happened(out, "half")] == [6, 6]
    train(CurveTask(correlation=0.5), trainer_config(out / "half"))
    assert _logged(out / "half", "net/loss") == pytest.approx(_logged(out / "two", "net/loss"), rel=1e-5)


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


@pytest.mark.slow
def test_recipe_under_torchrun_follows_the_same_recipe_alone(tmp_path: Path) -> None:
    """`torchrun -m train` as the README says it."""
    settings = ["trainer.steps=6", "trainer.log_every=1", "task.evaluation_frames=300"]
    done = _torchrun("-m", "train", "toy_pose", *settings, "trainer.out=two", "weights=exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("pose/loss") == 1
    with contextlib.chdir(tmp_path):
        train_recipe("toy_pose", [*settings, "trainer.out=one"])
    expected = _logged(tmp_path / "one", "pose/loss")
    assert _logged(tmp_path / "two", "pose/loss") == pytest.approx(expected, rel=1e-5)
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


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(BackendUnavailable, match="--nproc-per-node 1"):
        train(CurveTask(), trainer_config(tmp_path, device="auto"))


def test_recipes_that_do_not_train_refuse_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(CommandInvalid, match="without torchrun"):
        train_recipe("prepare")


def test_sigterm_to_torchrun_loses_no_step(tmp_path: Path) -> None:
    """What a cluster does to a job: torchrun hands the signal on, the processes end together, the leader saves."""
    script = (
        "import sys; from pathlib import Path; from curve_task import CurveTask, trainer_config; "
        "from train.trainer import train; train(CurveTask(), trainer_config(Path(sys.argv[1]), steps=10**6))"
    )
    worker = tmp_path / "endless.py"
    worker.write_text(script, encoding="utf-8")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(_ROOT), str(Path(__file__).parent)]),
    }
    job = subprocess.Popen(
        [*_TORCHRUN, str(worker), str(tmp_path / "run")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        log = tmp_path / "run" / "log.jsonl"
        _wait_until(lambda: log.is_file() and log.stat().st_size > 2000, job)
        job.terminate()
        job.wait(60)
    finally:
        job.kill()
    steps = _logged(tmp_path / "run", "step")
    with safe_open(tmp_path / "run" / CHECKPOINT, framework="pt") as file:
        assert int(file.metadata()["step"]) == steps[-1]
    assert steps == list(range(1, len(steps) + 1))


def _wait_until(met: Callable[[], bool], job: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert job.poll() is None, "the job ended early"
        assert time.monotonic() < end, "the job does not get going"
        time.sleep(0.1)
