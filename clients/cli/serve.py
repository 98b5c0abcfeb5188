"""``gohd serve``: the server with its address on the terminal."""

from __future__ import annotations

from pathlib import Path

import typer

from engine.errors import GohdError
from server import ServerConfig, serve

__all__ = ["run_server"]


def run_server(
    *, host: str, port: int, portrait: Path | None, token: str | None, insecure: bool, weights: str
) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    try:
        config = ServerConfig(
            host=host, port=port, portrait=portrait, token=token, insecure=insecure, weights=weights
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        serve(config, on_listening=_say_address, on_ready=_say_ready)
    except OSError as error:
        if isinstance(error, GohdError):
            raise
        raise typer.BadParameter(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _say_address(url: str) -> None:
    typer.echo(f"gohd-live is at {url}  (Ctrl-C ends it); loading the avatar ...")


def _say_ready() -> None:
    typer.echo("Ready: open the page, choose a voice and press Start.")
