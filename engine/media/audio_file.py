"""Audio files of any format, read in small chunks: an hour takes no more memory than a second."""

from collections.abc import Iterator

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from engine.errors import AudioUnreadable
from engine.media._reading import Source, decoded, describe, open_input, with_first_ready

_MAX_CHANNELS = 64


def read_audio(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode the first audio track of a file (path or bytes): wav, mp3, m4a, ogg, flac, webm, mp4 and more.

    Yields:
        (samples, rate_hz): float32 (n,) for mono, (n, channels) otherwise, in [-1, 1] up to the overshoot of
        lossy codecs. n is a few thousand at most; rate and channels may change within a file.

    Raises:
        AudioUnreadable: at once when the file is missing, empty, a folder, no media file or has no audio;
            while reading when not one sample can be decoded. A file damaged further on gives what it has.
    """
    return with_first_ready(_decode(source), AudioUnreadable(f"{describe(source)} holds no audio that can be decoded"))


def audio_duration_s(source: Source) -> float | None:
    """Length that the file states in seconds, without decoding it; None when it states none.

    Compressed files may be off by a little. Raises AudioUnreadable as `read_audio` does.
    """
    with open_input(source, AudioUnreadable) as container:
        stream = _track(container, source)
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return None if container.duration is None else container.duration / av.time_base


def _track(container: InputContainer, source: Source) -> AudioStream:
    if not container.streams.audio:
        raise AudioUnreadable(f"{describe(source)} has no audio track")
    return container.streams.audio[0]


def _decode(source: Source) -> Iterator[tuple[NDArray[np.float32], int]]:
    converter, kind = av.AudioResampler(format="flt"), None
    with open_input(source, AudioUnreadable) as container:
        for frame in decoded(container, _track(container, source), source):
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
