"""Training runs as functions that return their whole configuration; this folder is searched for them."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping

from train.recipes.recipe import Recipe, registered

__all__ = ["RECIPES"]

for _module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

RECIPES: Mapping[str, Callable[[], Recipe]] = registered()
"""Name on the command line to the function that makes the config."""
