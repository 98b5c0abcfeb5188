"""``gohd serve``: the server with its address on the terminal."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import typer

from engine.errors import GohdError
from server import ServerConfig, serve


def run_server(**settings: Any) -> None:
    """Serve until Ctrl-C or SIGTERM; ``settings`` are those of ``server.ServerConfig``."""
    try:
        config = ServerConfig(**settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        serve(config, on_listening=_say_address, on_ready=_say_ready)
    except OSError as error:
        if isinstance(error, GohdError):
            raise
        raise typer.BadParameter(f"cannot listen on {config.host}:{config.port}: {error.strerror or error}") from error
    if any(thread.name == "engine-host" for thread in threading.enumerate()):
        # It still loads, and nothing can stop that; torch aborts a process whose interpreter ends meanwhile.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _say_address(url: str) -> None:
    typer.echo(f"gohd-live is at {url}  (Ctrl-C ends it); loading the avatar ...")


def _say_ready() -> None:
    typer.echo("Ready: open the page, choose a voice and press Start.")
