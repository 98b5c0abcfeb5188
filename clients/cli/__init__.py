"""The ``gohd`` command: thin subcommands over the engine, the server and the training tree."""

from clients.cli.main import main

__all__ = ["main"]
