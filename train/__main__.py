"""``python -m train RECIPE [key=value ...]``."""

from __future__ import annotations

import logging
import sys

from rich.console import Console
from rich.table import Table

from engine.errors import GohdError


def main(arguments: list[str]) -> int:
    """Run a recipe and print its figures; without arguments, list the recipes."""
    from train.recipes import RECIPES
    from train.runner import run

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    console = Console()
    if not arguments or arguments[0] in ("-h", "--help"):
        console.print("python -m train RECIPE [key=value ...]", markup=False)
        for name, recipe in RECIPES.items():
            first_sentence = " ".join((recipe.__doc__ or "").split()).partition(". ")[0].rstrip(".")
            console.print(f"  {name:18} {first_sentence}", highlight=False, markup=False, soft_wrap=True)
        return 0
    try:
        figures = run(arguments[0], arguments[1:])
    except (GohdError, FileNotFoundError) as error:
        Console(stderr=True).print(f"[red]{error}")
        return 1
    table = Table("figure", "value")
    for key, value in figures.items():
        table.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
