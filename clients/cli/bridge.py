"""``gohd bridge``: a Realtime service speaks through a session of a gohd server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from engine.errors import CommandInvalid

_PIECE_BYTES = 4_800


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRequest:
    """What the command was asked for; ``key`` and ``token`` stay out of its text form."""

    url: str
    server: str
    key: str | None = field(repr=False)
    token: str | None = field(repr=False)
    session: str | None
    portrait: str | None
    settings: Path | None
    hear: bool


def run_bridge(request: BridgeRequest) -> None:
    """Bridge until the service ends the conversation, or Ctrl-C."""
    asyncio.run(_bridge(request))


async def _bridge(request: BridgeRequest) -> None:
    from clients.agents.realtime import RealtimeBridge, ServerMouth

    settings = None if request.settings is None else _read_settings(request.settings)
    mouth = ServerMouth(
        _socket_url(request.server), token=request.token, session=request.session, portrait=request.portrait
    )
    async with mouth:
        typer.echo(f"session {mouth.session_id}: watch it at {request.server.rstrip('/')}/whep/{mouth.session_id}")
        bridge = RealtimeBridge(
            request.url,
            request.key,
            mouth,
            microphone=_standard_input() if request.hear else None,
            session=settings,
        )
        await bridge.run()


def _socket_url(server: str) -> str:
    scheme, _, rest = server.rstrip("/").partition("://")
    if scheme not in ("http", "https") or not rest:
        raise CommandInvalid(f"the server's address begins with http:// or https://, not as {server!r}")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws"


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandInvalid(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CommandInvalid(f"{path} must hold a JSON object, the fields of the service's session")
    return settings


async def _standard_input() -> AsyncIterator[bytes]:
    """PCM16, 24 kHz, mono, in pieces of at most 100 ms."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    try:
        while pcm := await reader.read(_PIECE_BYTES):
            yield pcm
    finally:
        transport.close()
