"""Built networks on disk: found by everything that they depend on, and never trusted beyond that.

    <cache>/gohd-live/engines/<first half of the key's hash>.engine

    GOHDENGINE 1\n
    {"key": {...}, "size_bytes": ..., "sha256": "..."}\n
    payload

A file whose key, length, checksum or owner is not what it must be is built again in its place. Files are written
beside their place and moved there, so that a reader sees a whole one or none; whoever builds holds a lock.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import OutputUnwritable
from engine.files import replacing, user_folder

_log = logging.getLogger(__name__)
_MAGIC = b"GOHDENGINE 1\n"
_MAX_HEADER_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """All that a built network depends on.

    Attributes:
        graph: name of the graph and revision of how it is exported.
        weights: checksum of the weights and of their config.
        rows: of a batch; 0 where it is left open.
        precision: "fp16" or "fp32".
        package, package_version: what built it, and what alone can run it.
        target: "sm86", or "any" for a network that is not compiled for a device.
    """

    graph: str
    weights: str
    rows: int
    precision: str
    package: str
    package_version: str
    target: str

    @property
    def file_name(self) -> str:
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.engine"


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """What `EngineCache.entries` tells of a file; ``key`` is None when it is damaged or not ours."""

    path: Path
    size_bytes: int
    key: EngineKey | None


class EngineCache:
    """A folder of built networks."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: None is ``gohd-live/engines`` in the user's cache folder (XDG_CACHE_HOME)."""
        if folder is None:
            try:
                folder = user_folder("XDG_CACHE_HOME", ".cache") / "gohd-live" / "engines"
            except OSError as error:
                _log.warning("built networks are not kept: %s", error)
                folder = Path(tempfile.mkdtemp(prefix="gohd-live-"))
                weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder

    def get(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """What was built for ``key``, or is built now and kept.

        A cache that cannot be written costs a warning, not the session.
        """
        path = self.folder / key.file_name
        payload = _read(path, key)
        if payload is not None:
            return payload
        with self._lock(path):
            payload = _read(path, key)  # by the one that held the lock before
            if payload is None:
                payload = build()
                try:
                    self._write(path, key, payload)
                except OSError as error:
                    _log.warning("%s cannot be kept, it is built again next time: %s", path, error)
        return payload

    def holds(self, key: EngineKey) -> bool:
        """Whether a built network is there for ``key``."""
        return _read(self.folder / key.file_name, key) is not None

    def entries(self) -> list[CachedEngine]:
        """All files, damaged ones too, by name."""
        return [
            CachedEngine(path=path, size_bytes=path.stat().st_size, key=_key_of(path))
            for path in sorted(self.folder.glob("*.engine"))
        ]

    def clear(self) -> int:
        """Delete all files; how many bytes that freed.

        Raises:
            OutputUnwritable: one cannot be deleted.
        """
        freed = 0
        for path in (*self.folder.glob("*.engine"), *self.folder.glob("*.lock"), *self.folder.glob(".*.partial")):
            try:
                size = path.stat().st_size
                path.unlink()
            except OSError as error:
                raise OutputUnwritable(f"{path} cannot be deleted: {error.strerror or error}") from error
            freed += size
        return freed

    def _write(self, path: Path, key: EngineKey, payload: bytes) -> None:
        header = {
            "key": dataclasses.asdict(key),
            "size_bytes": len(payload),
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        with replacing(path, sync=True) as partial:
            partial.write_bytes(_MAGIC + json.dumps(header).encode() + b"\n" + payload)

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        """Wait for another process that builds the same; without locks (Windows, a read-only folder) both build."""
        try:
            import fcntl

            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = path.with_suffix(".lock").open("wb")
        except (ImportError, OSError) as error:
            _log.debug("no lock at %s: %s", path, error)
            yield
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _read(path: Path, key: EngineKey) -> bytes | None:
    """The payload, None where the file is missing or not to be trusted."""
    try:
        if not _is_own(path):
            _log.warning("%s belongs to somebody else or can be written by others: built again", path)
            return None
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s cannot be read: %s", path, error)
        return None
    header, payload = _header(content)
    expected = {
        "key": dataclasses.asdict(key),
        "size_bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    if header != expected:
        _log.warning("%s is damaged or of something else: built again", path)
        return None
    return payload


def _key_of(path: Path) -> EngineKey | None:
    try:
        header, payload = _header(path.read_bytes())
        if not isinstance(header, dict) or header.get("size_bytes") != len(payload):
            return None
        return EngineKey(**header["key"])
    except (OSError, TypeError, KeyError):
        return None


def _header(content: bytes) -> tuple[object, bytes]:
    """The header, None when there is no readable one, and what follows it."""
    end = content.find(b"\n", len(_MAGIC), len(_MAGIC) + _MAX_HEADER_BYTES)
    if not content.startswith(_MAGIC) or end < 0:
        return None, b""
    try:
        return json.loads(content[len(_MAGIC) : end]), content[end + 1 :]
    except ValueError:
        return None, b""


def _is_own(path: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
