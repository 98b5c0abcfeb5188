"""Videos read at the frame rate of the engine.

video at 60, 30, 24, any or changing rate   |a  |b  |c  |d  |e  |f  |g  |
frames at 25 Hz, the one then on screen     |a   |b   |c   |d   |f   |g   |

Time 0 is the file's origin, which its audio track shares: a track that begins later shows its first frame until then.
"""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import VideoUnreadable
from engine.media._reading import (
    MAX_GAP_S,
    Damage,
    Source,
    decoded,
    describe,
    open_input,
    origin_s,
    upright,
    video_track,
    with_first_ready,
)
from engine.timebase import FRAME_RATE_HZ

_MAX_PIXELS = 8192 * 8192
_MOST_OVERLAP_S = 1


def read_video(source: Source) -> Iterator[NDArray[np.uint8]]:
    """Decode the first video track of a video (path or bytes) at 25 frames a second.

    Yields:
        RGB uint8 (height, width, 3), upright (rotation in the file is applied). Frame t is the one on screen
        t / 25 s after the file's origin; a frame held on screen is the same array again: copy before writing into it.

    Raises:
        VideoUnreadable: at once when the file is missing, empty, a folder, no video or not one frame can be
            decoded; while reading when time stamps jump by more than a minute. A video
            damaged further on gives what it has.
    """
    return with_first_ready(
        _resample(source), VideoUnreadable(f"{describe(source)} holds no frame that can be decoded")
    )


def _resample(source: Source) -> Iterator[NDArray[np.uint8]]:
    """Hold each frame until the next one's time; a frame between two ticks is never converted."""
    shown: av.VideoFrame | None = None
    shown_until = Fraction(0)
    tick = 0
    for frame, at, length in _decode(source):
        if shown is None:
            shown = frame
        image = None
        while Fraction(tick, FRAME_RATE_HZ) < at:
            image = _upright(shown, source) if image is None else image
            yield image
            tick += 1
        shown, shown_until = frame, at + length
    if shown is not None:
        image = None
        while (image is None and tick == 0) or Fraction(tick, FRAME_RATE_HZ) < shown_until:
            image = _upright(shown, source) if image is None else image
            yield image
            tick += 1


def _decode(source: Source) -> Iterator[tuple[av.VideoFrame, Fraction, Fraction]]:
    """Frames with their time since the file's origin and their length in seconds, times strictly rising."""
    with open_input(source, VideoUnreadable) as container:
        stream = video_track(container, source)
        length = 1 / Fraction(stream.average_rate or stream.guessed_rate or FRAME_RATE_HZ)
        origin = origin_s(container)
        last: Fraction | None = None
        for frame in decoded(container, stream, describe(source), Damage()):
            if frame.pts is not None and frame.time_base is not None:
                at = frame.pts * Fraction(frame.time_base) - origin
            else:
                at = Fraction(0) if last is None else last + length
            if last is not None and at < last - _MOST_OVERLAP_S:
                # Stamps of another recording, put behind this one.
                origin, at = origin + at - last - length, last + length
            if at - (last or 0) > MAX_GAP_S:
                raise VideoUnreadable(f"{describe(source)}: time stamps jump by {float(at - (last or 0)):.0f} s")
            if last is None or at > last:
                last = at
                yield frame, at, length


def _upright(frame: av.VideoFrame, source: Source) -> NDArray[np.uint8]:
    if frame.width * frame.height > _MAX_PIXELS:
        raise VideoUnreadable(f"{describe(source)}: {frame.width}x{frame.height} is too large; scale it down")
    return upright(frame)
