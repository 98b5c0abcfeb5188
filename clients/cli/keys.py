"""Keys of this machine's user: the watermark's, given as a file, and the one that signs videos, made once."""

import contextlib
import os
import secrets
from pathlib import Path

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import CommandInvalid
from engine.files import user_folder
from engine.postprocess import PUBLIC_KEY, WatermarkConfig

_MIN_KEY_BYTES = 16


def watermark_config(tag: int, key_file: Path | None) -> WatermarkConfig:
    """The watermark of new frames.

    Raises:
        typer.BadParameter: as `read_key`.
    """
    return WatermarkConfig(tag=tag, key=read_key(key_file))


def read_key(path: Path | None) -> bytes:
    """Bytes of a key file; the public key where none is given.

    Raises:
        typer.BadParameter: the file cannot be read, or its key is too short.
    """
    if path is None:
        return PUBLIC_KEY
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise typer.BadParameter(f"the key file '{path}' cannot be read: {error.strerror}") from error
    if len(key) < _MIN_KEY_BYTES:
        raise typer.BadParameter(
            f"the key in '{path}' is shorter than {_MIN_KEY_BYTES} bytes; make one: openssl rand -hex 32 > {path}"
        )
    return key


def signing_key(folder: Path | None = None) -> Ed25519PrivateKey:
    """The key that signs videos: ``signing_key`` in ``folder`` (the user's configuration), made if it is not there.

    Of several processes that make it at once one wins, and all get its key.

    Raises:
        CommandInvalid: the file holds something else.
        OSError: it cannot be read or made, or the user has no home folder.
    """
    folder = folder or user_folder("XDG_CONFIG_HOME", ".config") / "gohd-live"
    path = folder / "signing_key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_key(path)
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except ValueError as error:
        raise CommandInvalid(f"'{path}' holds no signing key; move it away and a new one is made") from error


def _make_key(path: Path) -> None:
    """Write a fresh key where there is none; whole or not at all, and never in place of another."""
    fresh = Ed25519PrivateKey.generate().private_bytes_raw().hex()
    draft = path.with_name(f".{secrets.token_hex(8)}.partial")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(fresh + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
