"""Training: data, losses, tasks, recipes, one trainer. ``run`` runs a recipe by name."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["run"]


def run(recipe: str, overrides: Sequence[str] = ()) -> Mapping[str, Any]:
    """Run a recipe with ``key=value`` overrides (see `train.runner.run`); imports happen here, not at import."""
    from train.runner import run as run_recipe

    return run_recipe(recipe, overrides)
