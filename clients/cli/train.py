"""``gohd train``: run a training recipe."""

from typing import Annotated

import typer


def train(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="Recipe to run; by default list all.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings to change.")] = None,
) -> None:
    """Run a training recipe, or list the recipes."""
    from train.__main__ import main

    raise typer.Exit(main([] if recipe is None else [recipe, *(overrides or [])]))
