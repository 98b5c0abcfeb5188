"""Audio files of any format, read in small chunks: an hour takes no more memory than a second.

track   |  late  #####  gap  #####damaged#####      time stamps say where every sample belongs
yields  |........#####.......#####.......#####      and silence is where none is
"""

import io
import logging
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from engine.errors import AudioUnreadable
from engine.media._reading import (
    MAX_GAP_S,
    Damage,
    Source,
    check_loss,
    decoded,
    describe,
    length_s,
    open_container,
    opened,
    origin_s,
    with_first_ready,
)
from engine.media.links import links
from engine.media.media_file import MediaFile
from engine.media.wave_header import stated_wave_s

_log = logging.getLogger(__name__)
_Chunk = tuple[NDArray[np.float32], int]

_MAX_CHANNELS = 64
# A frame of video: nobody sees lips that are off by less, and recorders' time stamps wander by as much.
_TOLERANCE_S = Fraction(1, 25)
# A muted hour in a recording of a call; what is longer is no recording, whatever its header states.
_LONGEST_SILENCE_S = 3600
# Stamps that fall back by more are those of another recording, put behind this one.
_MOST_OVERLAP_S = 1
_SILENCE_BLOCK = 4096
# These state the length of each track exactly; others estimate it, or state that of the longest track.
_EXACT = {"wav", "w64", "aiff", "caf", "flac", "ogg", "mov,mp4,m4a,3gp,3g2,mj2"}


def read_audio(source: Source) -> Iterator[_Chunk]:
    """Decode the first audio track of a file: wav, mp3, m4a, ogg, flac, webm, mp4 and more.

    Presentation times rule: where a track begins after the file's origin (which its video track shares), pauses or is
    damaged, there is silence. Recordings put behind one another (chained Ogg, joined wave files) are all read. More
    than two channels are mixed down to two as their layout says (ITU-R BS.775).

    Yields:
        (samples, rate_hz): float32 (n,) for mono, (n, channels) otherwise, in [-1, 1] up to the overshoot of
        lossy codecs and mixing. n is a few thousand at most; rate and channels may change within a file.

    Raises:
        AudioUnreadable: at once when the file is missing, empty, a folder, no media file or has no audio;
            while reading when not one sample can be decoded, when time stamps jump by more than a minute beyond the
            file's own length or by more than an hour, and at the end when most of the file is lost. A smaller loss is
            a warning.
    """
    given = opened(source, AudioUnreadable)
    nothing = AudioUnreadable(f"{describe(given)} holds no audio that can be decoded")
    return with_first_ready(_read(given), nothing)


def audio_duration_s(source: Source) -> float | None:
    """Length that the file states in seconds, without decoding it; None when it states none.

    Compressed files may be off by a little. Raises AudioUnreadable as `read_audio` does.
    """
    given = opened(source, AudioUnreadable)
    total = Fraction(0)
    for number, part in enumerate(_parts(given)):
        try:
            with open_container(part, describe(given), AudioUnreadable) as container:
                stated = _stated_s(container, _track(container, given))
        except AudioUnreadable:
            if number == 0:
                raise
            continue
        if stated is None:
            return None
        total += stated
    return float(total)


def _read(source: MediaFile | bytes) -> Iterator[_Chunk]:
    name, read_s, stated_s, damage = describe(source), Fraction(0), Fraction(0), Damage()
    for number, part in enumerate(_parts(source)):
        wave_s = stated_wave_s(part)
        stated_s += wave_s or 0
        part.seek(0)
        try:
            with open_container(part, name, AudioUnreadable) as container:
                exact_s = _stated_s(container, _track(container, source)) if container.format.name in _EXACT else None
                stated_s += (exact_s or 0) if wave_s is None else 0
                for samples, rate_hz in _decode(container, source, damage):
                    read_s += Fraction(len(samples), rate_hz)
                    yield samples, rate_hz
        except AudioUnreadable as error:
            if number == 0:
                raise
            _log.warning("recording %d in %s is left out: %s", number + 1, name, error)
    check_loss(name, read_s - damage.blank_s, stated_s, AudioUnreadable)


def _parts(source: MediaFile | bytes) -> list[io.BufferedIOBase]:
    """The recordings in the file: one, as a rule."""
    whole: io.BufferedIOBase = io.BytesIO(source) if isinstance(source, bytes) else source.open()
    with whole:
        places = links(whole, len(source) if isinstance(source, bytes) else source.size)
    if isinstance(source, bytes):
        return [io.BytesIO(source[start:stop]) for start, stop in places]
    return [source.part(start, stop) for start, stop in places]


def _track(container: InputContainer, source: Source) -> AudioStream:
    if not container.streams.audio:
        raise AudioUnreadable(f"{describe(source)} has no audio track")
    return container.streams.audio[0]


def _stated_s(container: InputContainer, stream: AudioStream) -> Fraction | None:
    """When the track ends, counted from the file's origin, as the file states it."""
    if stream.duration is None or stream.time_base is None:
        return length_s(container)
    start = Fraction(0) if stream.start_time is None else stream.start_time * stream.time_base - origin_s(container)
    return max(start, Fraction(0)) + stream.duration * stream.time_base


def _decode(container: InputContainer, source: MediaFile | bytes, damage: Damage) -> Iterator[_Chunk]:
    name, stream = describe(source), _track(container, source)
    stated_s = _stated_s(container, stream)
    latest_s = max(stated_s or 0, length_s(container) or 0)
    origin, filled_s = origin_s(container), Fraction(0)
    converter, kind, channels = av.AudioResampler(format="flt"), None, 0
    damaged = damage.packets
    for frame in decoded(container, stream, name, damage):
        if (frame.format.name, frame.layout.name, frame.sample_rate) != kind:
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            converter, channels = _converter(frame, name)
        rate, skipped = frame.sample_rate, 0
        if frame.pts is not None and frame.time_base is not None:
            at_s = frame.pts * Fraction(frame.time_base) - origin
            apart_s = at_s - filled_s
            if apart_s > MAX_GAP_S and (at_s > latest_s + MAX_GAP_S or apart_s > _LONGEST_SILENCE_S):
                raise AudioUnreadable(f"{name}: time stamps jump by {float(apart_s):.0f} s; convert it first")
            if apart_s > _TOLERANCE_S:
                silent = round(apart_s * rate)
                yield from _silence(silent, rate, channels)
                filled_s += Fraction(silent, rate)
                damage.blank_s += Fraction(silent, rate) if damage.packets > damaged else 0
            elif apart_s < -_MOST_OVERLAP_S:
                origin += apart_s
            elif apart_s < -_TOLERANCE_S:
                skipped = round(-apart_s * rate)
        frame.pts, damaged = None, damage.packets
        for piece in converter.resample(frame):
            samples = piece.to_ndarray().reshape(-1, channels)[skipped:]
            skipped = max(0, skipped - piece.samples)
            if samples.size:
                filled_s += Fraction(len(samples), rate)
                yield samples[:, 0] if channels == 1 else samples, rate


def _converter(frame: AudioFrame, name: str) -> tuple[av.AudioResampler, int]:
    """To interleaved float32, and how many channels come out."""
    channels = frame.layout.nb_channels
    if channels > _MAX_CHANNELS:
        raise AudioUnreadable(f"{name} has {channels} channels; mix it down to stereo first")
    # A layout without a name says nothing about where its channels belong.
    if channels > 2 and not frame.layout.name.endswith("channels"):
        return av.AudioResampler(format="flt", layout="stereo"), 2
    return av.AudioResampler(format="flt"), channels


def _silence(count: int, rate_hz: int, channels: int) -> Iterator[_Chunk]:
    for start in range(0, count, _SILENCE_BLOCK):
        length = min(_SILENCE_BLOCK, count - start)
        yield np.zeros(length if channels == 1 else (length, channels), np.float32), rate_hz
