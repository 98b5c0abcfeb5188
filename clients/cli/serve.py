"""``gohd serve``: the server, with its address on the terminal."""

import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from clients.cli import options
from engine.errors import GohdError


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8080,
    portrait: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="The demo face, for visitors who upload no image.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="GOHD_TOKEN", help="Bearer token that clients must send.")] = None,
    jwt_secret: Annotated[
        str | None,
        typer.Option(envvar="GOHD_JWT_SECRET", help="Accept JSON Web Tokens (HS256) signed with this secret."),
    ] = None,
    jwt_audience: Annotated[str, typer.Option(help="The 'aud' claim that those tokens must have.")] = "gohd-live",
    insecure: Annotated[
        bool, typer.Option(help="Listen on an address that other machines reach, without a token.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:PORT]", help="Another name under which browsers reach the server, as a proxy's."),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None, typer.Option(metavar="https://NAME", help="Another site whose pages may use this server.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Proxy whose X-Forwarded-For names the client that limits count for."),
    ] = None,
    consent_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append each consent to the use of a portrait to this file.")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Most sessions at once; by default as many as the machine can serve.")
    ] = None,
    stun: Annotated[list[str] | None, typer.Option(metavar="stun:HOST:PORT", help="STUN server.")] = None,
    turn: Annotated[
        list[str] | None,
        typer.Option(metavar="turn:HOST:PORT", help="TURN server; also turns:HOST:PORT?transport=tcp."),
    ] = None,
    turn_secret: Annotated[
        str | None, typer.Option(envvar="GOHD_TURN_SECRET", help="Secret shared with the TURN server.")
    ] = None,
    relay_only: Annotated[bool, typer.Option(help="Send media through the TURN server only.")] = False,
    drain_seconds: Annotated[float, typer.Option(min=0, help="How long sessions may go on after SIGTERM.")] = 10.0,
    size: options.Size = None,
    tag: options.Tag = 0,
    key_file: options.KeyFile = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    weights: options.Weights = "default",
) -> None:
    """Serve the page, WebRTC, WHEP and the WebSocket on one port."""
    from clients.cli.keys import watermark_config
    from server import ServerConfig
    from server import serve as serve_until_stopped

    watermark = watermark_config(tag, key_file)
    try:
        config = ServerConfig(
            host=host,
            port=port,
            portrait=portrait,
            token=token,
            jwt_secret=jwt_secret,
            jwt_audience=jwt_audience,
            insecure=insecure,
            allowed_hosts=tuple(allowed_host or ()),
            allowed_origins=tuple(allowed_origin or ()),
            trusted_proxies=tuple(trusted_proxy or ()),
            consent_log=consent_log,
            max_sessions=sessions,
            stun_urls=tuple(stun or ()),
            turn_urls=tuple(turn or ()),
            turn_secret=turn_secret,
            relay_only=relay_only,
            drain_timeout_s=drain_seconds,
            watermark=watermark,
            device=device,
            backend=backend,
            weights=weights,
            size=size,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        serve_until_stopped(config, on_listening=_print_address, on_ready=_print_ready)
    except OSError as error:
        if isinstance(error, GohdError):
            raise
        raise typer.BadParameter(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    if any(thread.name == "engine-host" for thread in threading.enumerate()):
        # It still loads, and nothing can stop that; torch aborts a process whose interpreter ends meanwhile.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _print_address(url: str) -> None:
    typer.echo(f"gohd-live is at {url}  (Ctrl-C ends it); loading the avatar ...")


def _print_ready() -> None:
    typer.echo("Ready: open the page, choose a voice and press Start.")
