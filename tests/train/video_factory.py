"""Films for tests, made from the bundled portrait and voice alone."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.media import Mp4Writer, read_audio
from engine.timebase import SAMPLE_RATE_HZ
from train.data.faces.synthetic_faces import synthetic_face_clips

Image = NDArray[np.uint8]
_VOICE = Path(__file__).resolve().parents[2] / "engine" / "assets" / "voice.wav"


@functools.cache
def face_frames(count: int = 32, seed: int = 5) -> tuple[Image, ...]:
    """A moving face, (256,256,3) each."""
    clip = synthetic_face_clips(clips=1, frames=count, seed=seed)[0]
    return tuple(clip.rgb(frame) for frame in range(count))


@functools.cache
def voice() -> NDArray[np.float32]:
    """The bundled voice at 16 kHz."""
    chunks = list(read_audio(_VOICE))
    assert {rate for _, rate in chunks} == {SAMPLE_RATE_HZ}
    return np.concatenate([samples for samples, _ in chunks])


def write_video(
    path: Path,
    frames: Sequence[Image],
    *,
    audio: bool = True,
    rate_hz: float = 25.0,
    repeat: int = 1,
) -> Path:
    """An MP4 of the frames, played forth and back ``repeat`` times, with as much voice as it is long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [frame for turn in range(repeat) for frame in (frames if turn % 2 == 0 else frames[::-1])]
    height, width = frames[0].shape[:2]
    length = round(len(shown) / rate_hz * SAMPLE_RATE_HZ)
    with Mp4Writer(path, (width, height), audio_rate_hz=SAMPLE_RATE_HZ if audio else None) as video:
        if audio:
            video.write_audio(np.resize(voice(), length))
        for index, frame in enumerate(shown):
            video.write(frame, round(index / rate_hz * SAMPLE_RATE_HZ))
    return path
