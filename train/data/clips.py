"""Films as training sees them: frames at 25 a second, sound at 16 kHz, both counted from the first frame shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from engine.errors import VideoUnreadable
from engine.timebase import FRAME_RATE_HZ, SAMPLE_RATE_HZ

__all__ = ["CLIP_SUFFIXES", "read_frames", "read_sound"]

CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".mpg", ".mkv", ".webm", ".avi", ".m4v"})


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode a film at 25 frames a second, whatever its own rate.

    Output frame t is the newest decoded frame that is shown at 40 t ms after the first one (hold), so a 30 fps film
    drops frames and a 24 fps film repeats some; neither is blended.

    Yields:
        rgb uint8 (H,W,3).

    Raises:
        VideoUnreadable: no video stream, or decoding fails before the first frame.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoUnreadable(f"{path} holds no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            start_s: float | None = None
            index = 0
            previous: NDArray[np.uint8] | None = None
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                start_s = frame.time if start_s is None else start_s
                rgb = frame.to_ndarray(format="rgb24")
                while previous is not None and index / FRAME_RATE_HZ < frame.time - start_s - 1e-6:
                    yield previous
                    index += 1
                previous = rgb
            if previous is None:
                raise VideoUnreadable(f"{path} holds no frame that can be decoded")
            yield previous
    except (av.FFmpegError, OSError) as error:
        raise VideoUnreadable(f"{path} cannot be decoded: {error}") from error


def read_sound(path: Path) -> NDArray[np.float32] | None:
    """Decode a film's sound so that sample 640 t belongs to frame t as the file's time stamps have it.

    Streams may start at different times: the difference is padded with zeros or cut.

    Returns:
        float32 (n,) at 16 kHz, mono, clipped to [-1,1]; None for a film without sound.

    Raises:
        VideoUnreadable: the container or the sound cannot be decoded.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return None
            stream = container.streams.audio[0]
            to_mono = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
            pieces: list[NDArray[np.float32]] = []
            sound_start_s = math.nan
            for frame in container.decode(stream):
                if math.isnan(sound_start_s):
                    sound_start_s = frame.time or 0.0
                pieces.extend(piece.to_ndarray().ravel() for piece in to_mono.resample(frame))
            pieces.extend(piece.to_ndarray().ravel() for piece in to_mono.resample(None))
            rate_hz = stream.rate
    except (av.FFmpegError, OSError) as error:
        raise VideoUnreadable(f"the sound of {path} cannot be decoded: {error}") from error
    if not pieces:
        return None
    wave = soxr.resample(np.concatenate(pieces), rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
    shift = round((sound_start_s - _first_frame_s(path)) * SAMPLE_RATE_HZ)
    return np.clip(shift_samples(wave, shift), -1.0, 1.0)


def shift_samples(wave: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """Delay a wave by ``shift`` samples with leading zeros; a negative shift cuts its start."""
    if shift >= 0:
        return np.concatenate([np.zeros(shift, np.float32), wave])
    return wave[-shift:]


def _first_frame_s(path: Path) -> float:
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            return frame.time or 0.0
    return 0.0
