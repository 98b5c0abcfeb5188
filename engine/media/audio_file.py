"""Sound files of any format, read in small chunks: an hour takes no more memory than a second."""

import logging
from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import AudioUnreadable
from engine.media._open import Source, describe, open_input

_log = logging.getLogger(__name__)


def read_audio(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode the first sound track of a file (path or bytes): wav, mp3, m4a, ogg, flac, webm, mp4 and more.

    Yields:
        (samples, rate_hz): float32 (n,) for mono, (n, channels) otherwise, in [-1, 1] up to the overshoot of
        lossy codecs. n is a few thousand at most; rate and channels may change within a file.

    Raises:
        AudioUnreadable: at once when the file is missing, empty, a folder, no media file or has no sound;
            while reading when not one sample can be decoded. A file damaged further on gives what it has.
    """
    chunks = _decode(source)
    # The first chunk is decoded now, so that a bad file is refused before any work is done for it.
    first = next(chunks, None)
    if first is None:
        raise AudioUnreadable(f"{describe(source)} holds no sound that can be decoded")
    return _chain(first, chunks)


def _chain(
    first: tuple[NDArray[np.float32], int], rest: Iterator[tuple[NDArray[np.float32], int]]
) -> Iterator[tuple[NDArray[np.float32], int]]:
    yield first
    yield from rest


def _decode(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    with open_input(source, AudioUnreadable) as container:
        if not container.streams.audio:
            raise AudioUnreadable(f"{describe(source)} has no sound track")
        stream = container.streams.audio[0]
        converter, kind = av.AudioResampler(format="fltp"), None
        damaged = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = packet.decode() if packet is not None else []
            except (av.FFmpegError, ValueError, OSError) as cause:
                damaged += 1
                if damaged > 100:
                    break
                _log.debug("skipped a damaged packet of %s: %s", describe(source), cause)
                continue
            if packet is None:
                break
            for frame in frames:
                if (frame.format.name, frame.layout.name, frame.sample_rate) != kind:
                    kind = (frame.format.name, frame.layout.name, frame.sample_rate)
                    converter = av.AudioResampler(format="fltp")
                frame.pts = None
                for piece in converter.resample(frame):
                    planes = piece.to_ndarray()
                    samples = planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.T)
                    if samples.size:
                        yield samples, int(piece.sample_rate)
        if damaged:
            _log.warning("%s is damaged: %d packets could not be decoded", describe(source), damaged)
