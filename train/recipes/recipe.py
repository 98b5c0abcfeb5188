"""What a recipe is, and the registry of the functions that make one.

A recipe is a function without arguments that returns a whole run as one frozen dataclass; ``key=value`` on the command
line changes fields of it. To add one, write it in any module of this folder:

    @recipe
    def toy_thing() -> ThingRecipe:
        \"\"\"First sentence, shown by ``gohd train``. What it uses, and where it differs from the paper.\"\"\"
        return ThingRecipe(task=..., trainer=TrainerConfig.toy("toy_thing", steps=30))

A recipe that trains derives from `TrainingRecipe` and builds its experiment; anything else has a ``run``. Rows of an
ablation table are `variants` of a recipe.
"""

import dataclasses
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from train.distributed import is_leader
from train.tasks.protocol import Task
from train.trainer import TrainingResult, config_json, train
from train.trainer_config import TrainerConfig

_log = logging.getLogger(__name__)


class Recipe(Protocol):
    """A whole run: a frozen dataclass that runs."""

    def run(self) -> Mapping[str, Any]:
        """Do it; figures, ready to print."""
        ...


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a training recipe builds.

    Attributes:
        task: the data, the losses and the networks.
        export: writes the trained network into a weights folder (made if missing; other networks in it are kept).
    """

    task: Task
    export: Callable[[TrainingResult, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossFall:
    """Expected of a toy recipe: the first logged value of ``loss`` is at least ``factor`` times the last one."""

    loss: str
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe(ABC):
    """A recipe that trains, evaluates and exports.

    Attributes:
        weights: weights folder to export to when the run is complete; None exports nothing.
        needs: recipes that must have run before, whose results this one starts from.
        loss_fall: stated by recipes whose name begins with ``toy_``, and tested.
    """

    trainer: TrainerConfig
    weights: Path | None = None
    needs: tuple[str, ...] = ()
    loss_fall: LossFall | None = None

    @abstractmethod
    def build(self) -> Experiment:
        """Read the data, make the networks."""

    def run(self) -> Mapping[str, Any]:
        """Train or go on training, evaluate, export; losses and figures, and ``stopped`` if a signal ended it."""
        experiment = self.build()
        result = train(experiment.task, self.trainer, config_json(self))
        if result.stopped:
            _log.warning("stopped at step %d; the same command goes on from there", result.step)
        elif self.weights is not None and is_leader():
            experiment.export(result, self.weights)
        ended = {"stopped": True} if result.stopped else {}
        return {"steps": result.step, "seconds": result.seconds, **ended, **result.losses, **result.figures}


_Function = TypeVar("_Function", bound=Callable[[], Recipe])
_FAMILIES = ("prepare", "paper", "open", "toy", "table")
_REGISTERED: dict[str, Callable[[], Recipe]] = {}


def recipe(function: _Function) -> _Function:
    """Register a recipe under its function's name."""
    name = function.__name__
    assert function.__doc__, f"recipe {name} needs a docstring: its first sentence is what users see"
    assert name.startswith(_FAMILIES), f"recipe {name} must belong to one of {_FAMILIES}"
    known = _REGISTERED.get(name)
    assert known is None or known.__module__ == function.__module__, f"two recipes are called {name}"
    _REGISTERED[name] = function
    return function


_Config = TypeVar("_Config")
_Trains = TypeVar("_Trains", bound=TrainingRecipe)


def variant(base: _Trains, name: str, changes: Mapping[str, object]) -> _Trains:
    """``base`` in a folder of its own (``runs/NAME``), with fields changed by dotted name, as ``task.losses.eye``."""
    return _changed(base, {"trainer.out": Path("runs") / name, **changes})


def variants(base: Callable[[], TrainingRecipe], *rows: tuple[str, str, Mapping[str, object]]) -> None:
    """Register the rows of an ablation table: name, first sentence, and what differs from ``base`` (`variant`)."""
    for name, note, changes in rows:

        def row(name: str = name, changes: Mapping[str, object] = changes) -> TrainingRecipe:
            return variant(base(), name, changes)

        row.__name__, row.__doc__, row.__module__ = name, f"{note}.", base.__module__
        recipe(row)


def _changed(config: _Config, changes: Mapping[str, object]) -> _Config:
    """All changes of one dataclass at once, for its checks look at several fields."""
    fields: dict[str, object] = {}
    parts: dict[str, dict[str, object]] = {}
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        if rest:
            parts.setdefault(name, {})[rest] = value
        else:
            fields[name] = value
    nested = {name: _changed(getattr(config, name), inner) for name, inner in parts.items()}
    whole: Any = config
    replaced: _Config = dataclasses.replace(whole, **fields, **nested)
    return replaced


def first_sentence(function: Callable[..., Any]) -> str:
    """The first sentence of a recipe's docstring, on one line."""
    text = " ".join((function.__doc__ or "").split())
    return re.split(r"(?<!\bEq)(?<!\bApp)(?<!e\.g)(?<!i\.e)\. ", text, maxsplit=1)[0].removesuffix(".")


def registered() -> dict[str, Callable[[], Recipe]]:
    """All registered recipes by name, family by family."""

    def place(name: str) -> tuple[int, str]:
        return next(i for i, family in enumerate(_FAMILIES) if name.startswith(family)), name

    return {name: _REGISTERED[name] for name in sorted(_REGISTERED, key=place)}
