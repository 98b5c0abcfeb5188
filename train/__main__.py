"""``python -m train RECIPE [key=value ...]``, alone or under torchrun."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.errors import GohdError

_USER_ERROR = 2
_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run a recipe and print its figures; without arguments, list the recipes.

    Returns:
        the exit code: 2 for a user's mistake, 130 when a signal stopped the run.
    """
    from train.distributed import is_leader
    from train.recipes import RECIPES
    from train.runner import run

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if not is_leader():
        logging.getLogger("train").setLevel(logging.WARNING)
    console = Console()
    if not arguments or arguments[0] in ("-h", "--help", "--list"):
        _list(console, RECIPES)
        return 0
    try:
        figures = run(arguments[0], arguments[1:])
    except (GohdError, FileNotFoundError) as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        return _USER_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED
    if is_leader():
        table = Table("figure", "value")
        for key, value in figures.items():
            table.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
        console.print(table)
    return _INTERRUPTED if figures.get("stopped") else 0


def _list(console: Console, recipes: Mapping[str, Callable[[], Any]]) -> None:
    from train.recipes.recipe import first_sentence

    console.print("gohd train RECIPE [key=value ...]\n", markup=False)
    width = max(len(name) for name in recipes)
    for name, recipe in recipes.items():
        console.print(f"  {name:{width}}  {first_sentence(recipe)}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
