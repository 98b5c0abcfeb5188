"""Checkpoints: a run that was interrupted anywhere goes on bit for bit, and a full disk costs no checkpoint."""

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from engine.errors import OutputUnwritable, WeightsCorrupt
from tests.train.curve_task import CurveTask, trainer_config
from train import checkpointing
from train.trainer import CHECKPOINT, TrainingResult, train


def _state(out: Path) -> dict[str, Tensor]:
    return dict(load_file(out / CHECKPOINT))


def _step(out: Path) -> int:
    with safe_open(out / CHECKPOINT, framework="pt") as file:
        return int(file.metadata()["step"])


def _task(**changes: object) -> CurveTask:
    return CurveTask(dropout=0.3, normalised=True, correlation=0.2, **changes)  # type: ignore[arg-type]


def _without_times(out: Path) -> list[str]:
    """Log lines up to what depends on the clock."""
    import json

    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [str({k: v for k, v in line.items() if k not in ("seconds", "rows_per_s")}) for line in lines]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_stopped_run_goes_on_bit_for_bit(tmp_path: Path, number: signal.Signals, accumulation: int) -> None:
    """Modules, averages, both optimisers, dropout, half-filled means of the log: all as if nothing had been."""
    settings = {"log_every": 4, "accumulation": accumulation}
    train(_task(), trainer_config(tmp_path / "whole", **settings))
    stopped = train(_task(stop_at=5, stop_signal=number), trainer_config(tmp_path / "parts", **settings))
    assert (stopped.stopped, stopped.step, stopped.figures) == (True, 6, {})
    assert _step(tmp_path / "parts") == 6
    torch.manual_seed(99)  # whatever the new process's randomness is
    finished = train(_task(seed=7), trainer_config(tmp_path / "parts", **settings))
    assert (finished.stopped, finished.step) == (False, 12)
    whole, parts = _state(tmp_path / "whole"), _state(tmp_path / "parts")
    assert set(whole) == set(parts)
    assert {key.partition(".")[0] for key in whole} >= {"module", "average", "optimiser"}
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert _without_times(tmp_path / "whole") == _without_times(tmp_path / "parts")


def test_killed_run_goes_on_from_its_last_checkpoint_and_logs_no_step_twice(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dies(CurveTask):
        def updates(self, rng, step):  # type: ignore[no-untyped-def]
            if step == 9:
                raise Killed
            yield from super().updates(rng, step)

    train(CurveTask(), trainer_config(tmp_path / "whole"))
    with pytest.raises(Killed):
        train(Dies(), trainer_config(tmp_path / "parts", checkpoint_every=4))
    assert _step(tmp_path / "parts") == 8
    with (tmp_path / "parts" / "log.jsonl").open("a") as file:
        file.write('{"step": 9, "sec')  # a line that was cut off
    train(CurveTask(), trainer_config(tmp_path / "parts", checkpoint_every=4))
    assert _without_times(tmp_path / "whole") == _without_times(tmp_path / "parts")


def test_finished_run_is_only_evaluated_again(tmp_path: Path) -> None:
    first = train(CurveTask(), trainer_config(tmp_path))
    before = _state(tmp_path)
    again = train(CurveTask(seed=3), trainer_config(tmp_path))
    assert again.figures == first.figures
    assert all(torch.equal(before[key], value) for key, value in _state(tmp_path).items())


def test_second_interrupt_ends_the_run_at_once(tmp_path: Path) -> None:
    class Twice(CurveTask):
        def updates(self, rng, step):  # type: ignore[no-untyped-def]
            if step == 4:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            yield from super().updates(rng, step)

    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests were started in the background
    with pytest.raises(KeyboardInterrupt):
        train(Twice(), trainer_config(tmp_path))
    assert signal.getsignal(signal.SIGINT) is before


def _halfway(out: Path) -> TrainingResult:
    return train(CurveTask(stop_at=5), trainer_config(out))


def test_full_disk_is_named_and_the_last_checkpoint_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(CurveTask(), trainer_config(tmp_path / "whole"))
    _halfway(tmp_path / "parts")

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "save_file", full)
        with pytest.raises(OutputUnwritable, match=r"step 12 .*No space left.*of step 6, is intact at .*make room"):
            train(CurveTask(), trainer_config(tmp_path / "parts"))
    assert _step(tmp_path / "parts") == 6
    assert [path.name for path in (tmp_path / "parts").glob(".*.partial")] == []
    train(CurveTask(), trainer_config(tmp_path / "parts"))
    whole, parts = _state(tmp_path / "whole"), _state(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@contextmanager
def file_size_limit() -> Iterator[None]:
    """The system refuses to let any file grow beyond 1 kB; that of the test's own report too, so be brief."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_that_the_system_refuses_leaves_the_old_file(tmp_path: Path) -> None:
    _halfway(tmp_path)
    with pytest.raises(OutputUnwritable, match="too large"), file_size_limit():
        train(CurveTask(), trainer_config(tmp_path, log_every=100))
    assert _step(tmp_path) == 6


def test_first_checkpoint_that_cannot_be_written_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpointing, "save_file", full)
    with pytest.raises(OutputUnwritable, match="no earlier checkpoint"):
        train(CurveTask(), trainer_config(tmp_path))


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    _halfway(tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsCorrupt, match="remove it to start anew"):
        train(CurveTask(), trainer_config(tmp_path))


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    _halfway(tmp_path)
    with pytest.raises(WeightsCorrupt, match=r"other settings; give this one another trainer\.out"):
        train(CurveTask(normalised=True), trainer_config(tmp_path))


def test_folder_or_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputUnwritable, match=r"run's folder .*set trainer\.out"):
        train(CurveTask(), trainer_config(tmp_path / "file"))
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    with pytest.raises(OutputUnwritable, match=r"log\.jsonl cannot be written"):
        train(CurveTask(), trainer_config(tmp_path / "run"))
