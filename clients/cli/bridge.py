"""``gohd bridge``: a Realtime service speaks through a session of a gohd server."""

import contextlib
import io
import json
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import CommandInvalid

_PIECE_BYTES, _BYTES_A_SECOND = 4_800, 48_000


def bridge(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The service's WebSocket: wss://HOST/v1/realtime?model=NAME")
    ],
    server: Annotated[
        str, typer.Option(metavar="URL", help="The gohd server that shows the face.")
    ] = "http://127.0.0.1:8080",
    key: Annotated[
        str | None, typer.Option(envvar=["GOHD_REALTIME_KEY", "OPENAI_API_KEY"], help="The service's API key.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="GOHD_TOKEN", help="Bearer token of the gohd server.")] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Speak in this session, as that of an open page; by default in a new one."),
    ] = None,
    portrait: Annotated[
        str | None, typer.Option(metavar="ID", help="A portrait that was uploaded to the server.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Settings that the service is sent, as session.update.")
    ] = None,
    hear: Annotated[
        bool, typer.Option("--hear", help="Send the user's voice from standard input: PCM16, 24 kHz, mono.")
    ] = False,
) -> None:
    """Let a service with the OpenAI Realtime protocol speak through a session of a gohd server."""
    import asyncio

    from clients.agents.realtime import RealtimeBridge, ServerMouth

    if hear and sys.stdin is None:
        raise CommandInvalid("standard input is closed; --hear takes PCM16, 24 kHz, mono from it")
    # Unbuffered: a microphone's pieces are passed on as they come.
    source = io.FileIO(0, closefd=False) if hear else None
    session_settings = None if settings is None else _read_settings(settings)
    mouth = ServerMouth(_socket_url(server), token=token, session=session, portrait=portrait)

    async def run() -> None:
        async with mouth:
            typer.echo(f"session {mouth.session_id}: watch it at {server.rstrip('/')}/whep/{mouth.session_id}")
            microphone = standard_input(source) if source is not None else None
            await RealtimeBridge(url, key, mouth, microphone=microphone, session=session_settings).run()

    asyncio.run(run())


def _socket_url(server: str) -> str:
    scheme, _, rest = server.rstrip("/").partition("://")
    if scheme not in ("http", "https") or not rest:
        raise CommandInvalid(f"the server's address begins with http:// or https://, not as {server!r}")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws"


def _read_settings(path: Path) -> dict[str, object]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandInvalid(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CommandInvalid(f"{path} must hold a JSON object, the fields of the service's session")
    return settings


async def standard_input(source: io.FileIO) -> AsyncIterator[bytes]:
    """PCM16, 24 kHz, mono, in pieces of at most 100 ms; a file, which has them all at once, in real time.

    Raises:
        CommandInvalid: a wave file comes, or nothing at all.
    """
    import asyncio

    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[bytes](1)

    def read() -> None:
        # In a thread that nobody waits for: event loops cannot watch plain files, and a terminal may never end.
        with contextlib.suppress(RuntimeError):  # the loop has ended
            while piece := source.read(_PIECE_BYTES):
                asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()
            asyncio.run_coroutine_threadsafe(pieces.put(b""), loop).result()

    is_file = stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    threading.Thread(target=read, daemon=True).start()
    due, rest, sent = loop.time(), b"", 0
    while piece := await pieces.get():
        if not sent and piece.startswith(b"RIFF"):
            raise CommandInvalid(
                "a wave file came, and --hear takes bare samples: "
                "ffmpeg -i FILE -f s16le -ar 24000 -ac 1 - | gohd bridge URL --hear"
            )
        piece = rest + piece
        whole = len(piece) // 2 * 2
        rest = piece[whole:]
        if is_file:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += whole / _BYTES_A_SECOND
        if whole:
            sent += whole
            yield piece[:whole]
    if not sent:
        raise CommandInvalid("standard input held no audio; --hear takes PCM16, 24 kHz, mono")
