"""``gohd bridge``: a Realtime service speaks through a session of a gohd server."""

import concurrent.futures
import contextlib
import io
import json
import os
import select
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import CommandInvalid

_PIECE_BYTES, _BYTES_A_SECOND = 4_800, 48_000
# Sent as samples, each of these would be loud noise: where its mark stands, the mark, what it is.
_AUDIO_FILES = (
    (0, b"RIFF", "a wave file"),
    (0, b"RF64", "a wave file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"ID3", "an MP3 file"),
    (0, b"FORM", "an AIFF file"),
    (0, b"caff", "a Core Audio file"),
    (0, b".snd", "an AU file"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (4, b"ftyp", "an MP4 file"),
)
_START_BYTES = max(offset + len(magic) for offset, magic, _ in _AUDIO_FILES)


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
        CommandInvalid: an audio file of some format comes, nothing at all, or what cannot be read.
    """
    import asyncio

    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[bytes | OSError](1)

    def hand_over(piece: bytes | OSError) -> None:
        asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()

    def read() -> None:
        # In a thread that nobody waits for: event loops cannot watch plain files, and a terminal may never end.
        # Nobody hears any more: the loop has ended or ends, or the source is closed.
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError, ValueError):
            try:
                for piece in _pieces(source):
                    hand_over(piece)
                hand_over(b"")
            except OSError as error:
                hand_over(error)

    is_file = stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    threading.Thread(target=read, daemon=True).start()
    due, rest, sent = loop.time(), b"", 0
    while piece := await pieces.get():
        if isinstance(piece, OSError):
            raise CommandInvalid(f"standard input cannot be read: {piece.strerror}") from piece
        if not sent:
            _refuse_audio_file(piece)
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


def _pieces(source: io.FileIO) -> Iterator[bytes]:
    """What comes, as it comes; the first piece is long enough to tell a file's format by."""
    held, begun = b"", False
    while piece := _read(source):
        held += piece
        if begun or len(held) >= _START_BYTES:
            yield held
            held, begun = b"", True
    if held:
        yield held


def _read(source: io.FileIO) -> bytes:
    # None comes from a pipe that its other end has made non-blocking, as some shells and Node.js do.
    while (piece := source.read(_PIECE_BYTES)) is None:
        select.select([source], [], [])
    return piece


def _refuse_audio_file(start: bytes) -> None:
    for offset, magic, kind in _AUDIO_FILES:
        if start[offset:].startswith(magic):
            raise CommandInvalid(
                f"{kind} came, and --hear takes bare samples: "
                "ffmpeg -i FILE -f s16le -ar 24000 -ac 1 - | gohd bridge URL --hear"
            )
