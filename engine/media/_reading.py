"""Reads a file that a stranger may have made: known containers only, no file but this one, damage passed over."""

import io
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from engine.errors import InputError, VideoUnreadable

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")

Source = str | os.PathLike[str] | bytes
"""A path, or the bytes of a whole file."""

# A file with more damage than this is no recording any more; what came before is kept.
_MAX_DAMAGED_PACKETS = 100

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


def video_track(container: InputContainer, source: Source) -> VideoStream:
    """The first video track.

    Raises:
        VideoUnreadable: there is none. The cover of an audio file, a video track of one frame, is no video.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise VideoUnreadable(f"{describe(source)} has no video track")


def upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A frame as RGB (H, W, 3), turned as its display matrix says."""
    rgb: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    # The display matrix counts counter-clockwise.
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def decoded(container: InputContainer, stream: Any, source: Source) -> Iterator[Any]:
    """Frames of one track, `av.AudioFrame` or `av.VideoFrame`. Damaged packets are skipped; after 100 it ends."""
    packets = container.demux(stream)
    damaged = 0
    while damaged <= _MAX_DAMAGED_PACKETS:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except (av.FFmpegError, ValueError, OSError) as cause:
            damaged += 1
            _log.debug("skipped a damaged packet of %s: %s", describe(source), cause)
            continue
        if packet is None:
            break
        yield from frames
    if damaged:
        _log.warning("%s is damaged: %d packets could not be decoded", describe(source), damaged)


def with_first_ready(items: Iterator[_Item], error: InputError) -> Iterator[_Item]:
    """``items``, the first of which is computed now, so that a bad file is refused before work is done for it.

    Raises:
        InputError: ``error``, where there is no item at all.
    """
    for first in items:
        return itertools.chain((first,), items)
    raise error
