"""The ``gohd`` command: its subcommands, and what they have in common (version, logging, errors, exit codes).

Every command's module imports what it needs when it is run, so that ``gohd --help`` answers at once.
"""

import io
import logging
import sys
from typing import Annotated, NoReturn

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
_EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h
_EXIT_INTERRUPTED = 130
_log = logging.getLogger(__name__)

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
    """Entry point: a user's mistake ends with one line and exit code 2, Ctrl-C with 130, a fault of ours with 70."""
    for stream in (sys.stdout, sys.stderr):
        # A console whose encoding lacks a letter of a file's name still gets the rest of the line.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except GohdError as error:
        _end(str(error))
    except OSError as error:
        _log.debug("", exc_info=error)
        _end(f"{error.strerror or error}" + (f": '{error.filename}'" if error.filename else ""))
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    except Exception:
        # Not 1, by which `gohd verify` says that there is no watermark.
        _log.exception("this is a fault of the program")
        sys.exit(_EXIT_FAULT)


def _end(message: str) -> NoReturn:
    print(f"gohd: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(_EXIT_USER_ERROR)


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
