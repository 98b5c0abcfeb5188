"""The ``gohd`` command: its subcommands, and what they have in common (version, logging, errors, exit codes).

Every command's module imports what it needs when it is run, so that ``gohd --help`` answers at once.
"""

import logging
import sys
from typing import Annotated

import typer

from clients.cli.bridge import bridge
from clients.cli.camera import camera
from clients.cli.doctor import doctor
from clients.cli.evaluate import evaluate
from clients.cli.render import render
from clients.cli.serve import serve
from clients.cli.train import train
from clients.cli.verify import verify
from clients.cli.weights import weights_app
from engine.errors import GohdError

_EXIT_USER_ERROR = 2
_EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One portrait and a live voice become a talking head, in real time.",
)
for _command in (render, serve, camera, bridge, verify, doctor):
    app.command()(_command)
app.command(context_settings={"ignore_unknown_options": True})(train)
app.command()(evaluate)
app.add_typer(weights_app, name="weights")


def main() -> None:
    """Entry point: a user's mistake ends with one line and exit code 2, Ctrl-C with 130."""
    try:
        app()
    except GohdError as error:
        print(f"gohd: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(_EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"gohd-live {version('gohd-live')}")
        except PackageNotFoundError:
            typer.echo("gohd-live, run from its folder")
        raise typer.Exit


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for name in ("engine", "server", "train", "clients"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
