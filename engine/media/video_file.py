"""Videos read at the frame rate of the engine.

video at 60, 30, 24, any or changing rate   |a  |b  |c  |d  |e  |f  |g  |
frames at 25 Hz, the one then on screen     |a   |b   |c   |d   |f   |g   |
"""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import VideoUnreadable
from engine.media._reading import Source, decoded, describe, open_input, upright, video_track, with_first_ready
from engine.timebase import FRAME_RATE_HZ

_MAX_PIXELS = 8192 * 8192
# A damaged or hostile time stamp could ask for a frame to be repeated for years.
_MAX_GAP_S = 60


def read_video(source: Source) -> Iterator[NDArray[np.uint8]]:
    """Decode the first video track of a video (path or bytes) at 25 frames a second.

    Yields:
        RGB uint8 (height, width, 3), upright (rotation in the file is applied). Frame t is the one on screen
        t / 25 s after the first; a frame held on screen is the same array again: copy before writing into it.

    Raises:
        VideoUnreadable: at once when the file is missing, empty, a folder, no video or not one frame can be
            decoded; while reading when time stamps jump by more than a minute. A video damaged further on
            gives what it has.
    """
    return with_first_ready(
        _resample(source), VideoUnreadable(f"{describe(source)} holds no frame that can be decoded")
    )


def _resample(source: Source) -> Iterator[NDArray[np.uint8]]:
    """Hold each frame until the next one's time; a frame between two ticks is never converted."""
    shown: av.VideoFrame | None = None
    start = shown_until = Fraction(0)
    tick = 0
    for frame, at, length in _decode(source):
        if shown is None:
            start = at
        elif at - shown_until > _MAX_GAP_S:
            raise VideoUnreadable(f"{describe(source)}: time stamps jump by {float(at - shown_until):.0f} s")
        else:
            image = None
            while Fraction(tick, FRAME_RATE_HZ) < at - start:
                image = _upright(shown, source) if image is None else image
                yield image
                tick += 1
        shown, shown_until = frame, at + length
    if shown is not None:
        image = None
        while (image is None and tick == 0) or Fraction(tick, FRAME_RATE_HZ) < shown_until - start:
            image = _upright(shown, source) if image is None else image
            yield image
            tick += 1


def _decode(source: Source) -> Iterator[tuple[av.VideoFrame, Fraction, Fraction]]:
    """Frames with their time and length in seconds, times strictly rising."""
    with open_input(source, VideoUnreadable) as container:
        stream = video_track(container, source)
        length = 1 / Fraction(stream.average_rate or stream.guessed_rate or FRAME_RATE_HZ)
        last: Fraction | None = None
        for frame in decoded(container, stream, source):
            if frame.pts is not None and frame.time_base is not None:
                at = frame.pts * Fraction(frame.time_base)
            else:
                at = Fraction(0) if last is None else last + length
            if last is None or at > last:
                last = at
                yield frame, at, length


def _upright(frame: av.VideoFrame, source: Source) -> NDArray[np.uint8]:
    if frame.width * frame.height > _MAX_PIXELS:
        raise VideoUnreadable(f"{describe(source)}: {frame.width}x{frame.height} is too large; scale it down")
    return upright(frame)
