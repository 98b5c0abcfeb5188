"""Files that are whole or not there at all, and their checksums."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Write a file in one step: yields a path beside ``path`` to write to, which then takes its place.

    Where the body raises, what it wrote is removed and ``path`` is as it was before.

    Args:
        sync: wait until the disk has it, so that a power failure leaves the old file or the new one.
    """
    # Not made of the name, which may be as long as the file system allows already.
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        yield partial
        if sync:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def user_folder(variable: str, below_home: str) -> Path:
    """A folder of the user's, as the XDG base directories are: that of a variable, else one below the home folder.

    Raises:
        OSError: this user has no home folder and the variable is not set.
    """
    named = Path(os.environ.get(variable, ""))
    if named.is_absolute():
        return named
    try:
        return Path.home() / below_home
    except RuntimeError:
        raise OSError(f"this user has no home folder; set {variable} to a folder") from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
