"""A media file as it was when it was opened, read any number of times.

A pipe gives its bytes once: they are kept in a temporary file. The digest is of the bytes that are decoded, whatever
becomes of the name afterwards.
"""

import hashlib
import io
import os
import stat
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO

from engine.errors import InputError

_MAX_PIPED_BYTES = 4 << 30
_CHUNK_BYTES, _BUFFER_BYTES = 1 << 20, 1 << 15


class MediaFile:
    """An open file.

    Args:
        path: a plain file, a pipe, or a device such as ``/dev/stdin``.
        error: what all failures to open become, as ``error(message)``.

    Attributes:
        name: as the user gave it. size: bytes.
    """

    def __init__(self, path: str | os.PathLike[str], error: Callable[[str], InputError]) -> None:
        self.name = f"'{os.fspath(path)}'"
        try:
            if Path(path).is_dir():
                raise error(f"{self.name} is a folder; give a file")
            with Path(path).open("rb") as file:
                plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                self._descriptor = os.dup(file.fileno()) if plain else _kept(file, self.name, error)
        except FileNotFoundError:
            raise error(f"{self.name} does not exist") from None
        except (OSError, ValueError) as cause:  # ValueError: a name with a null character
            if isinstance(cause, InputError):
                raise
            raise error(f"{self.name} cannot be read: {getattr(cause, 'strerror', None) or cause}") from cause
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def sha256(self) -> str:
        """SHA-256 of its bytes in hexadecimal digits."""
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def open(self) -> io.BufferedReader:
        """A reader with a place of its own, from the start."""
        return self.part(0, self.size)

    def part(self, start: int, stop: int) -> io.BufferedReader:
        """A reader of some of its bytes, as if they were a file."""
        return io.BufferedReader(_Reader(self, start, stop), _BUFFER_BYTES)


class _Reader(io.RawIOBase):
    """Reads a stretch of an open file without moving the place of others who read it."""

    def __init__(self, file: MediaFile, start: int, stop: int) -> None:
        # The file is kept, so that its descriptor stays open.
        self._file, self._start, self._size, self._at = file, start, stop - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._file._descriptor, wanted, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _kept(pipe: IO[bytes], name: str, error: Callable[[str], InputError]) -> int:
    """Descriptor of a file that vanishes with the process, with all bytes of a pipe."""
    with tempfile.TemporaryFile(prefix="gohd-") as kept:
        while data := pipe.read(_CHUNK_BYTES):
            if kept.tell() + len(data) > _MAX_PIPED_BYTES:
                raise error(f"{name} sends more than {_MAX_PIPED_BYTES >> 30} GiB; save it to a file first")
            kept.write(data)
        kept.flush()
        return os.dup(kept.fileno())
