"""Videos as training sees them: frames at 25 a second, audio at 16 kHz, both counted from the start of the clip.

video at any or changing rate   |a  |b  |c  |d  |e  |f  |g  |
frames at 25 Hz                 |a   |b   |c   |d   |f   |g   |     the one then on screen; none is blended

Unlike `engine.media`, which plays on over damage, a damaged video is refused here: what a decoder makes up to conceal
an error is no training data.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from engine.errors import VideoUnreadable
from engine.media import open_input, upright, video_track
from engine.timebase import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from train.data.resample import resample

CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".mpg", ".mkv", ".webm", ".avi", ".m4v"})

_LARGEST_GAP_S = 1.0
_MISSING_END_S = 0.5
_AUDIO_RUN_UP_S = 0.5
_EPSILON_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What the header of a video says.

    Attributes:
        rate_hz: mean frame rate; variable: whether frames come at changing intervals.
        duration_s: length, 0 where none is stated.
    """

    rate_hz: float
    variable: bool
    duration_s: float
    has_audio: bool


def video_facts(path: Path) -> VideoFacts:
    """Read the header of a video.

    Raises:
        VideoUnreadable: no video, or one without images.
    """
    with open_input(path, VideoUnreadable) as container:
        stream = video_track(container, path)
        mean, smallest = stream.average_rate, stream.guessed_rate
        rate_hz = float(mean or smallest or FRAME_RATE_HZ)
        return VideoFacts(
            rate_hz=round(rate_hz, 3),
            variable=bool(mean and smallest and abs(float(smallest) / float(mean) - 1) > 0.01),
            duration_s=_duration_s(stream),
            has_audio=bool(container.streams.audio),
        )


def read_frames(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Iterator[NDArray[np.uint8]]:
    """Decode a video, or a part of it, at 25 frames a second, whatever its own rate.

    Output frame t is the newest decoded frame that is shown at start + 40 t ms, counted from the first frame (hold),
    so a 30 fps video drops frames and a 24 fps video repeats some; neither is blended. Rotation in the file is applied.

    Yields:
        rgb uint8 (H,W,3); a frame that is held is the same array again.

    Raises:
        VideoUnreadable: no video; damaged anywhere in the part; its time stamps jump; or it ends before the part does,
            or half a second before its header says.
    """
    try:
        with open_input(path, VideoUnreadable) as container:
            stream = video_track(container, path)
            stated_s = _duration_s(stream)
            shown: av.VideoFrame | None = None
            index = 0
            time_s = 0.0
            for frame, time_s in _timed(container, stream, start_s):
                if frame.is_corrupt and time_s >= start_s:
                    raise VideoUnreadable(f"{path} is damaged at {time_s:.1f} s")
                while shown is not None and start_s + index / FRAME_RATE_HZ < time_s - _EPSILON_S:
                    if end_s is not None and start_s + index / FRAME_RATE_HZ >= end_s - _EPSILON_S:
                        return
                    yield upright(shown)
                    index += 1
                shown = frame
            if shown is None:
                raise VideoUnreadable(f"{path} holds no frame that can be decoded")
            expected_s = stated_s if end_s is None else end_s
            if time_s < expected_s - _MISSING_END_S:
                raise VideoUnreadable(f"{path} ends at {time_s:.1f} s instead of {expected_s:.1f} s")
            shown_until_s = time_s + 1 / float(stream.average_rate or FRAME_RATE_HZ)
            while start_s + index / FRAME_RATE_HZ < min(shown_until_s, end_s or math.inf) - _EPSILON_S:
                yield upright(shown)
                index += 1
    except (av.FFmpegError, OSError) as error:
        raise VideoUnreadable(f"{path} cannot be decoded: {_reason(error)}") from error


def read_audio(path: Path, start_s: float = 0.0, end_s: float | None = None) -> NDArray[np.float32] | None:
    """Decode the audio of a video so that sample 640 t belongs to frame t of `read_frames` as the time stamps have it.

    Streams may start at different times: the difference is padded with zeros or cut.

    Returns:
        float32 (n,) at 16 kHz, mono, clipped to [-1,1]; None for a video without audio.

    Raises:
        VideoUnreadable: the container or the audio cannot be decoded.
    """
    try:
        with open_input(path, VideoUnreadable) as container:
            if not container.streams.audio:
                return None
            origin_s = _first_frame_s(path) + start_s
            stream = container.streams.audio[0]
            if start_s > _AUDIO_RUN_UP_S and _indexed(container) and stream.time_base:
                container.seek(int((origin_s - _AUDIO_RUN_UP_S) / stream.time_base), stream=stream)
            to_mono = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
            pieces: list[NDArray[np.float32]] = []
            first_s = math.nan
            for frame in container.decode(stream):
                time_s = frame.time or 0.0
                if math.isnan(first_s):
                    first_s = time_s
                if end_s is not None and time_s > origin_s + end_s - start_s + _AUDIO_RUN_UP_S:
                    break
                pieces.extend(piece.to_ndarray().ravel() for piece in to_mono.resample(frame))
            pieces.extend(piece.to_ndarray().ravel() for piece in to_mono.resample(None))
            rate_hz = stream.rate
    except (av.FFmpegError, OSError) as error:
        raise VideoUnreadable(f"the audio of {path} cannot be decoded: {_reason(error)}") from error
    if not pieces:
        return None
    wave = resample(np.concatenate(pieces), rate_hz, SAMPLE_RATE_HZ)
    wave = shift_samples(wave, round((first_s - origin_s) * SAMPLE_RATE_HZ))
    if end_s is not None:
        wave = wave[: round((end_s - start_s) * SAMPLE_RATE_HZ)]
    return np.clip(wave, -1.0, 1.0)


def shift_samples(wave: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """Delay a wave by ``shift`` samples with leading zeros; a negative shift cuts its start."""
    if shift >= 0:
        return np.concatenate([np.zeros(shift, np.float32), wave])
    return wave[-shift:]


def _timed(container: Any, stream: Any, start_s: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """Frames with seconds since the video's first one, from the last key frame at or before ``start_s``."""
    origin_s: float | None = None
    if start_s > _EPSILON_S and _indexed(container):
        origin_s = next((frame.time for frame in container.decode(stream) if frame.time is not None), 0.0)
        container.seek(int((origin_s + start_s) / stream.time_base), stream=stream)
    last_s = -math.inf
    for frame in container.decode(stream):
        if frame.time is None:
            continue
        origin_s = frame.time if origin_s is None else origin_s
        time_s = frame.time - origin_s
        if time_s - last_s > _LARGEST_GAP_S and math.isfinite(last_s) and time_s > start_s:
            raise VideoUnreadable(f"time stamps jump from {last_s:.1f} to {time_s:.1f} s")
        if time_s > last_s:
            last_s = time_s
            yield frame, time_s


def _indexed(container: Any) -> bool:
    """Whether the format has an index of its key frames; in others (MPEG, AVI) a seek may land anywhere."""
    return any(name in container.format.name.split(",") for name in ("mp4", "matroska"))


def _duration_s(stream: Any) -> float:
    return float(stream.duration * stream.time_base) if stream.duration else 0.0


def _first_frame_s(path: Path) -> float:
    with open_input(path, VideoUnreadable) as container:
        for frame in container.decode(video_track(container, path)):
            return frame.time or 0.0
    return 0.0


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
