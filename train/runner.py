"""Runs a recipe by its name, with changed settings."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import CommandInvalid
from train.configuration import override
from train.distributed import process_count
from train.recipes import RECIPES
from train.recipes.recipe import TrainingRecipe


def run(recipe: str, overrides: Sequence[str] = ()) -> Mapping[str, Any]:
    """Run a recipe by name with ``key=value`` overrides; what ``gohd train`` calls.

    Returns:
        Figures of the run, ready to print.

    Raises:
        CommandInvalid: no such recipe, or an override that does not fit; the message names the nearest that does.
    """
    if recipe not in RECIPES:
        near = difflib.get_close_matches(recipe, RECIPES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise CommandInvalid(f"no recipe '{recipe}'; {hint}`gohd train` lists those there are")
    config = override(RECIPES[recipe](), overrides)
    if process_count() > 1 and not isinstance(config, TrainingRecipe):
        raise CommandInvalid(f"'{recipe}' does not train and runs in one process: start it without torchrun")
    return config.run()
