"""Opens a file that a stranger may have made: known containers only, and nothing that leads elsewhere."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer

from engine.errors import InputError

Source = str | os.PathLike[str] | bytes
"""A path, or the bytes of a whole file."""

# Playlists and concat scripts (hls, dash, concat) would make the reader open further files and addresses.
_CONTAINERS = "wav,w64,aiff,au,caf,mp3,aac,amr,ogg,flac,matroska,webm,mov,mp4,m4a,3gp,avi,mpeg,mpegts,flv,asf"


def describe(source: Source) -> str:
    """How a message names the source."""
    return "the data" if isinstance(source, bytes) else f"'{os.fspath(source)}'"


@contextmanager
def open_input(source: Source, error: Callable[[str], InputError]) -> Iterator[InputContainer]:
    """Open `source` for decoding and close it afterwards. All failures to open become `error(message)`."""
    name = describe(source)
    if isinstance(source, bytes):
        file: io.BufferedIOBase = io.BytesIO(source)
        size = len(source)
    else:
        path = Path(source)
        if path.is_dir():
            raise error(f"{name} is a folder; give a file")
        try:
            file = path.open("rb")
            size = path.stat().st_size
        except FileNotFoundError:
            raise error(f"{name} does not exist") from None
        except OSError as cause:
            raise error(f"{name} cannot be read: {cause.strerror or cause}") from cause
    with file:
        if size == 0:
            raise error(f"{name} is empty")
        try:
            container = av.open(file, options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"})
        except (av.FFmpegError, ValueError, OSError) as cause:
            raise error(
                f"{name} is in no format that can be decoded; try wav, mp3, m4a, ogg, flac, mp4 or webm"
            ) from cause
        with container:
            yield container
