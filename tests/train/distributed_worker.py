"""What `test_distributed.py` starts under torchrun: every scenario once, in one group of processes."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import GohdError
from tests.train.curve_task import CurveTask, trainer_config
from train import checkpointing
from train.distributed import open_processes
from train.trainer import train

STOPPABLE = {"dropout": 0.3, "normalised": True}


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _with_full_disk(out: Path) -> Any:
    kept = checkpointing.save_file
    checkpointing.save_file = _full
    try:
        return train(CurveTask(), trainer_config(out))
    finally:
        checkpointing.save_file = kept


def _scenarios(out: Path) -> dict[str, Callable[[], Any]]:
    def parts(**changes: Any) -> Any:
        return train(CurveTask(**STOPPABLE, **changes), trainer_config(out / "stopped"))

    return {
        "two": lambda: train(CurveTask(correlation=0.5), trainer_config(out / "two")),
        "normalised": lambda: train(CurveTask(normalised=True), trainer_config(out / "normalised")),
        "accumulated": lambda: train(CurveTask(), trainer_config(out / "accumulated", accumulation=3)),
        "half": lambda: train(CurveTask(correlation=0.5, stop_at=5), trainer_config(out / "half")),
        "whole": lambda: train(CurveTask(**STOPPABLE), trainer_config(out / "whole")),
        "stopped": lambda: parts(stop_at=5, stop_share=1),
        "resumed": parts,
        "bad": lambda: train(CurveTask(bad=(3, 9)), trainer_config(out / "bad")),
        "bad_gathered": lambda: train(
            CurveTask(bad=(3, 9), correlation=0.5), trainer_config(out / "bad_gathered", accumulation=2)
        ),
        "indivisible": lambda: train(CurveTask(rows=9), trainer_config(out / "indivisible")),
        "full": lambda: _with_full_disk(out / "full"),
    }


def main(out: Path) -> None:
    """Run all; each process writes what happened to it."""
    with open_processes("cpu") as processes:
        happened: dict[str, Any] = {}
        for name, scenario in _scenarios(out).items():
            try:
                result = scenario()
                happened[name] = {
                    "step": result.step,
                    "stopped": result.stopped,
                    "figures": dict(result.figures),
                }
            except GohdError as error:
                happened[name] = {"error": type(error).__name__, "text": str(error)}
        (out / f"process-{processes.rank}.json").write_text(json.dumps(happened))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
