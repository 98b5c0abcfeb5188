"""Every toy recipe from end to end: it trains, stops, goes on bit for bit, exports, evaluates, and its loss falls."""

import json
import math
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import train
from engine.checkpoint import verify_checksums
from train.configuration import override
from train.datasets.batch_rng import BatchRng
from train.recipes import RECIPES
from train.recipes.recipe import TrainingRecipe
from train.tasks.protocol import Task, Update
from train.trainer import CHECKPOINT
from train.trainer import train as run_trainer

_TOYS = [name for name in RECIPES if name.startswith("toy_")]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Mapping[str, Any]]]:
    """An empty folder to work in, and the figures of what ran there."""
    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(tmp_path_factory.mktemp("toys"))
    yield {}
    os.chdir(before)
    torch.set_num_threads(threads)


def _finish(name: str, workshop: dict[str, Mapping[str, Any]]) -> None:
    """Run a recipe, after those that it needs, as `gohd train NAME weights=weights/NAME` does."""
    if name not in workshop:
        for needed in _recipe(name).needs:
            _finish(needed, workshop)
        workshop[name] = train.run(name, [f"weights=weights/{name}"])


def _recipe(name: str, *overrides: str) -> TrainingRecipe:
    recipe = override(RECIPES[name](), overrides)
    assert isinstance(recipe, TrainingRecipe)
    return recipe


class _Stopping:
    """A task that sends its process SIGTERM in the middle of a step."""

    def __init__(self, task: Task, step: int) -> None:
        self._task, self._step = task, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGTERM)
        return self._task.updates(rng, step)


@pytest.mark.parametrize("name", _TOYS)
def test_toy_recipe_from_end_to_end(name: str, workshop: dict[str, Mapping[str, Any]]) -> None:
    _finish(name, workshop)
    recipe = _recipe(name)
    lines = [json.loads(line) for line in (recipe.trainer.out / "log.jsonl").read_text().splitlines()]
    assert recipe.loss_fall is not None
    losses = [line[recipe.loss_fall.loss] for line in lines if recipe.loss_fall.loss in line]
    assert len(losses) > 1
    assert losses[0] >= recipe.loss_fall.factor * losses[-1], losses
    assert recipe.loss_fall.factor > 1

    figures = {key: value for key, value in lines[-1].items() if key not in ("step", "seconds")}
    assert figures
    assert all(math.isfinite(value) for value in figures.values()), figures
    assert figures.keys() <= workshop[name].keys()

    verify_checksums(Path("weights") / name)
    assert list((Path("weights") / name).glob("*.safetensors"))


@pytest.mark.parametrize("name", _TOYS)
def test_toy_recipe_that_was_stopped_goes_on_bit_for_bit(name: str, workshop: dict[str, Mapping[str, Any]]) -> None:
    _finish(name, workshop)
    recipe = _recipe(name, f"trainer.out=parts/{name}")
    middle = recipe.trainer.steps // 2
    stopped = run_trainer(_Stopping(recipe.build().task, middle), recipe.trainer)
    assert (stopped.stopped, stopped.step) == (True, middle + 1)
    torch.manual_seed(1234)
    assert run_trainer(recipe.build().task, recipe.trainer).step == recipe.trainer.steps
    whole, parts = _tensors(Path("runs") / name), _tensors(Path("parts") / name)
    assert set(whole) == set(parts)
    assert [key for key in whole if not torch.equal(whole[key], parts[key])] == []


def _tensors(out: Path) -> dict[str, Tensor]:
    return dict(load_file(out / CHECKPOINT))
