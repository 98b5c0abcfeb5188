"""The record of consents: for each accepted portrait, when and for which image, never the image itself.

    {"time": "2026-11-22T19:00:00Z", "sha256": "9f86...", "statement": "..."}

One line of JSON each goes to the log and, where the operator names a file, is appended to it before the image is
used.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import logging
import os
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import OutputUnwritable

log = logging.getLogger(__name__)

STATEMENT = "I have the right to use this image, and whoever it shows agrees to being animated."


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """``time`` is UTC (RFC 3339), ``sha256`` the digest of the uploaded bytes, ``statement`` what was confirmed."""

    time: str
    sha256: str
    statement: str = STATEMENT

    @classmethod
    def given_for(cls, image: bytes, now: datetime) -> Consent:
        return cls(
            time=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            sha256=hashlib.sha256(image).hexdigest(),
        )


class ConsentRecord:
    """Keeps consents: in the log always, in ``path`` if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def add(self, image: bytes) -> Consent:
        """Record that consent for ``image`` was given now.

        Raises:
            OutputUnwritable: the file cannot be written; the image must not be used then.
        """
        consent = Consent.given_for(image, datetime.now(UTC))
        line = json.dumps(asdict(consent), separators=(",", ":"))
        if self._path is not None:
            try:
                await asyncio.to_thread(_append, self._path, f"{line}\n".encode())
            except OSError as error:
                raise OutputUnwritable(
                    f"the consent log '{self._path}' cannot be written: {error.strerror or error}"
                ) from error
        log.info("consent %s", line)
        return consent


def _append(path: Path, line: bytes) -> None:
    """All of ``line`` and on the disk, or nothing: half a line would spoil the next one, too."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        status = os.fstat(descriptor)
        if os.write(descriptor, line) < len(line):
            os.ftruncate(descriptor, status.st_size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if stat.S_ISREG(status.st_mode):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
