"""Checkpoints: all that a run needs to go on, as tensors in one safetensors file that is replaced in one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import OutputUnwritable, WeightsCorrupt
from engine.files import replacing
from train.tasks.protocol import Task


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is: steps done, seconds of wall time spent on them."""

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(
    path: Path, place: Place, task: Task, averaged: Mapping[str, nn.Module], metrics: Mapping[str, Tensor]
) -> None:
    """Write modules, averages, optimisers and metrics; an older checkpoint stays until this one is whole.

    Raises:
        OutputUnwritable: the disk is full or forbidden; says which checkpoint is intact.
    """
    tensors = {f"module.{key}": value for key, value in task.modules.state_dict().items()}
    for name, module in averaged.items():
        tensors |= {f"average.{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in task.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            kept = {key: value for key, value in state.items() if value is not None}
            tensors |= {f"optimiser.{name}.{index}.{key}": torch.as_tensor(v) for key, v in kept.items()}
    tensors |= {f"meter.{key}": value for key, value in metrics.items()}
    copies = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    metadata = {"step": str(place.step), "seconds": repr(place.seconds)}
    try:
        with replacing(path, sync=True) as partial:
            save_file(copies, partial, metadata)
    except (OSError, SafetensorError) as error:
        raise OutputUnwritable(
            f"the checkpoint of step {place.step} cannot be written: {error}. {_what_is_left(path)}"
        ) from error


def load_checkpoint(path: Path, task: Task, averaged: Mapping[str, nn.Module]) -> tuple[Place, dict[str, Tensor]]:
    """Put a checkpoint's state into task and averages.

    Returns:
        where the run was, and the means of its metrics.

    Raises:
        WeightsCorrupt: the file is damaged, or of a run with other networks or optimisers.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        place = Place(int(metadata["step"]), float(metadata["seconds"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsCorrupt(f"{path} is not a readable checkpoint ({error}): remove it to start anew") from error
    try:
        task.modules.load_state_dict(_under(tensors, "module."))
        for name, module in averaged.items():
            module.load_state_dict(_under(tensors, f"average.{name}."))
        for name, optimiser in task.optimisers.items():
            _load_optimiser(optimiser, _under(tensors, f"optimiser.{name}."))
    except (RuntimeError, KeyError, ValueError) as error:
        raise WeightsCorrupt(
            f"{path} is of a run with other settings; give this one another trainer.out, or remove it to start anew "
            f"({error})"
        ) from error
    return place, _under(tensors, "meter.")


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for number, values in state.items():
        for field, value in values.items():
            if value.ndim and value.shape != parameters[number].shape:
                raise ValueError(f"{field} of parameter {number} has the shape {tuple(value.shape)}")
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _what_is_left(path: Path) -> str:
    """What a user whose disk is full can rely on."""
    advice = "make room and give the same command again"
    try:
        with safe_open(path, framework="pt") as file:
            step = (file.metadata() or {})["step"]
    except (OSError, SafetensorError, KeyError):
        return f"There is no earlier checkpoint: {advice}"
    return f"The last one, of step {step}, is intact at {path}: {advice}"


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
