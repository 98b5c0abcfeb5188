"""Reading a foreign checkpoint file without trusting it: in another process, tensors only, names and shapes checked."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from engine.errors import CheckpointRefused, WeightsNotFound
from engine.release import _worker
from engine.release.names import Shapes

_TIMEOUT_S = 300
_PARALLEL = "module."
_SHOWN = 8


def read_checkpoint(path: Path, key: str) -> dict[str, Tensor]:
    """Named tensors of a PyTorch checkpoint; a ``module.`` that all names begin with is taken off.

    Args:
        key: where the tensors lie in the file's dictionary; they may also lie at the top, as with "" they must.

    Raises:
        WeightsNotFound: there is no such file.
        CheckpointRefused: damaged, too large, or with anything but finite tensors. Nothing in it was run.
    """
    if not path.is_file():
        raise WeightsNotFound(f"there is no file {path}")
    if path.stat().st_size > _worker.MAX_BYTES:
        raise CheckpointRefused(f"{path} is larger than {_worker.MAX_BYTES // 2**20} MiB")
    with tempfile.TemporaryDirectory(prefix="gohd-read-") as folder:
        target = Path(folder) / "tensors.safetensors"
        # -P: the script's own folder stays off the import path.
        command = [sys.executable, "-P", _worker.__file__, str(path.resolve()), key, str(target)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise CheckpointRefused(f"{path} could not be read within {_TIMEOUT_S} s") from None
        if ended.returncode == _worker.REFUSED:
            raise CheckpointRefused(f"{path} {json.loads(ended.stdout)['refused']}")
        if ended.returncode != 0:
            last = (ended.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise CheckpointRefused(
                f"{path} could not be read (the reader ended with {ended.returncode}: {last[:200]})"
            )
        tensors = {name: tensor.clone() for name, tensor in load_file(target).items()}
    if tensors and all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def check_shapes(path: Path, tensors: dict[str, Tensor], expected: Shapes, what: str) -> None:
    """Compare names and shapes with a layout.

    Raises:
        CheckpointRefused: with lists of what is missing, not expected or of another shape.
    """
    problems = [
        *_listed("missing", [name for name in expected if name not in tensors]),
        *_listed("not expected", [name for name in tensors if name not in expected]),
        *_listed(
            "of another shape",
            [
                f"{name} {tuple(tensors[name].shape)} instead of {shape}"
                for name, shape in expected.items()
                if name in tensors and tuple(tensors[name].shape) != shape
            ],
        ),
    ]
    if problems:
        raise CheckpointRefused(f"{path} is not the released {what} checkpoint\n  " + "\n  ".join(problems))


def _listed(label: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{len(names)} {label}: {', '.join(names[:_SHOWN])}{more}"]
