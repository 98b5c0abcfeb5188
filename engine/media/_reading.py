"""Reads a file that a stranger may have made: known containers only, no file but this one, damage passed over."""

import io
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from engine.errors import InputError, VideoUnreadable
from engine.media.media_file import MediaFile

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")

Source = str | os.PathLike[str] | bytes | MediaFile
"""A path, a file that is open already, or the bytes of a whole file."""

# So many packets in a row that cannot be decoded are the end: what comes is no recording any more.
_MAX_DAMAGED_IN_A_ROW = 100

MAX_GAP_S: Final = 60
"""A damaged or hostile time stamp could ask for years of silence, or of one frame. Longer silence must lie within the
length that the file states; a longer still frame is refused."""

MOST_LOST_SHARE: Final = 0.5
"""A file of which more is lost is refused; of less, the user is told how much."""

# Playlists and concat scripts (hls, dash, concat) would make the reader open further files and addresses.
_CONTAINERS = "wav,w64,aiff,au,caf,mp3,aac,amr,ogg,flac,matroska,webm,mov,mp4,m4a,3gp,avi,mpeg,mpegts,flv,asf"


def describe(source: Source) -> str:
    """How a message names the source."""
    if isinstance(source, MediaFile):
        return source.name
    return "the data" if isinstance(source, bytes) else f"'{os.fspath(source)}'"


def opened(source: Source, error: Callable[[str], InputError]) -> MediaFile | bytes:
    """The source, open; a path that cannot be opened or holds nothing becomes ``error(message)``."""
    if not isinstance(source, bytes | MediaFile):
        source = MediaFile(source, error)
    if (len(source) if isinstance(source, bytes) else source.size) == 0:
        raise error(f"{describe(source)} is empty")
    return source


@contextmanager
def open_input(source: Source, error: Callable[[str], InputError]) -> Iterator[InputContainer]:
    """Open `source` for decoding and close it afterwards. All failures to open become `error(message)`."""
    given = opened(source, error)
    file = io.BytesIO(given) if isinstance(given, bytes) else given.open()
    with open_container(file, describe(given), error) as container:
        yield container


@contextmanager
def open_container(file: io.BufferedIOBase, name: str, error: Callable[[str], InputError]) -> Iterator[InputContainer]:
    """Open a seekable file for decoding and close it afterwards."""
    with file:
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


def origin_s(container: InputContainer) -> Fraction:
    """When the file begins by its own time stamps: time 0 of all its tracks."""
    return Fraction(0) if container.start_time is None else Fraction(container.start_time, av.time_base)


def length_s(container: InputContainer) -> Fraction | None:
    """Length of the longest track as the file states it; None when it states none."""
    return None if container.duration is None else Fraction(container.duration, av.time_base)


def upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A frame as RGB (H, W, 3), turned as its display matrix says."""
    rgb: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    # The display matrix counts counter-clockwise.
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


@dataclass(slots=True)
class Damage:
    """How many packets could not be decoded so far, and how many seconds of silence stand in for them."""

    packets: int = 0
    blank_s: Fraction = Fraction(0)


def decoded(container: InputContainer, stream: Any, name: str, damage: Damage) -> Iterator[Any]:
    """Frames of one track, `av.AudioFrame` or `av.VideoFrame`. Damaged packets are skipped and counted."""
    packets = container.demux(stream)
    in_a_row = 0
    while in_a_row <= _MAX_DAMAGED_IN_A_ROW:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except (av.FFmpegError, ValueError, OSError) as cause:
            damage.packets, in_a_row = damage.packets + 1, in_a_row + 1
            _log.debug("skipped a damaged packet of %s: %s", name, cause)
            continue
        if packet is None:
            break
        in_a_row = 0
        yield from frames
    if damage.packets:
        _log.warning("%s is damaged: %d packets could not be decoded; they are left blank", name, damage.packets)


def check_loss(name: str, read_s: Fraction, stated_s: Fraction, error: Callable[[str], InputError]) -> None:
    """Compare what was read with what the file states: a warning for a part of it, ``error`` for most of it.

    A fifth of a second is no loss: containers round, and encoders fill up their last block.
    """
    if stated_s - read_s < Fraction(1, 5):
        return
    said = f"{name} states {float(stated_s):.1f} s, of which {float(read_s):.1f} s could be read"
    if read_s < (1 - MOST_LOST_SHARE) * stated_s:
        raise error(f"{said}: it is damaged or was cut off; get it again")
    _log.warning("%s: the rest is damaged or was cut off", said)


def with_first_ready(items: Iterator[_Item], error: InputError) -> Iterator[_Item]:
    """``items``, the first of which is computed now, so that a bad file is refused before work is done for it.

    Raises:
        InputError: ``error``, where there is no item at all.
    """
    for first in items:
        return itertools.chain((first,), items)
    raise error
