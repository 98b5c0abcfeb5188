"""Sound files of any format, read in small chunks: an hour takes no more memory than a second."""

import logging
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import AudioUnreadable
from engine.media._open import Source, describe, open_input

_log = logging.getLogger(__name__)

_MAX_CHANNELS = 64
_MAX_DAMAGED_PACKETS = 100


def read_audio(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode the first audio track of a file (path or bytes): wav, mp3, m4a, ogg, flac, webm, mp4 and more.

    Yields:
        (samples, rate_hz): float32 (n,) for mono, (n, channels) otherwise, in [-1, 1] up to the overshoot of
        lossy codecs. n is a few thousand at most; rate and channels may change within a file.

    Raises:
        AudioUnreadable: at once when the file is missing, empty, a folder, no media file or has no audio;
            while reading when not one sample can be decoded. A file damaged further on gives what it has.
    """
    chunks = _decode(source)
    # The first chunk is decoded now, so that a bad file is refused before any work is done for it.
    first = next(chunks, None)
    if first is None:
        raise AudioUnreadable(f"{describe(source)} holds no audio that can be decoded")
    return _chain(first, chunks)


def audio_duration_s(source: Source) -> float | None:
    """Length that the file states in seconds, without decoding it; None when it states none.

    Compressed files may be off by a little. Raises AudioUnreadable as `read_audio` does.
    """
    with open_input(source, AudioUnreadable) as container:
        if not container.streams.audio:
            raise AudioUnreadable(f"{describe(source)} has no audio track")
        stream = container.streams.audio[0]
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return None if container.duration is None else container.duration / av.time_base


def _chain(
    first: tuple[NDArray[np.float32], int], rest: Iterator[tuple[NDArray[np.float32], int]]
) -> Iterator[tuple[NDArray[np.float32], int]]:
    yield first
    yield from rest


def _decode(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    converter, kind = av.AudioResampler(format="flt"), None
    for frame in _frames(source):
        channels = frame.layout.nb_channels
        if channels > _MAX_CHANNELS:
            raise AudioUnreadable(f"{describe(source)} has {channels} channels; mix it down to stereo first")
        if (frame.format.name, frame.layout.name, frame.sample_rate) != kind:
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            converter = av.AudioResampler(format="flt")
        frame.pts = None
        for piece in converter.resample(frame):
            samples = piece.to_ndarray().reshape(-1, channels)
            if samples.size:
                yield samples[:, 0] if channels == 1 else samples, int(piece.sample_rate)


def _frames(source: Source) -> Iterator[Any]:
    """Decoded frames of the first audio track; damaged packets are passed over."""
    with open_input(source, AudioUnreadable) as container:
        if not container.streams.audio:
            raise AudioUnreadable(f"{describe(source)} has no audio track")
        packets = container.demux(container.streams.audio[0])
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
