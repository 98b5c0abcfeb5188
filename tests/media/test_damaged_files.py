"""Whatever bytes come: a named error, or what could be decoded."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import AudioUnreadable, VideoUnreadable
from engine.media import Mp4Writer, read_audio, read_video


@cache
def _sample(container: str) -> bytes:
    tone = (0.3 * np.sin(np.arange(16000) / 5)).astype(np.float32)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"sample.{container}"
        if container == "mp4":
            with Mp4Writer(path, (32, 32)) as video:
                for t in range(10):
                    video.write(np.full((32, 32, 3), 20 * t, np.uint8), 640 * t)
                video.write_audio(tone[:6400])
            return path.read_bytes()
        codec = {"wav": "pcm_s16le", "mp3": "libmp3lame", "ogg": "libopus", "flac": "flac"}[container]
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=48000 if codec == "libopus" else 16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = 16000
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path.read_bytes()


def _damaged(container: str, edits: list[tuple[float, int]], keep: float) -> bytes:
    data = bytearray(_sample(container))
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    return bytes(data[: int(keep * len(data))])


_EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=30)
_HEAD_EDITS = st.lists(st.tuples(st.floats(0, 0.1), st.integers(0, 255)), max_size=10)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["wav", "mp3", "ogg", "flac", "mp4"]), _EDITS | _HEAD_EDITS, st.floats(0.01, 1))
def test_damaged_audio(container: str, edits: list[tuple[float, int]], keep: float) -> None:
    with suppress(AudioUnreadable):
        for samples, rate in read_audio(_damaged(container, edits, keep)):
            assert samples.dtype == np.float32
            assert len(samples) > 0
            assert rate > 0


@settings(deadline=None, max_examples=30)
@given(_EDITS | _HEAD_EDITS, st.floats(0.01, 1))
def test_damaged_video(edits: list[tuple[float, int]], keep: float) -> None:
    with suppress(VideoUnreadable):
        for count, rgb in enumerate(read_video(_damaged("mp4", edits, keep))):
            assert rgb.dtype == np.uint8
            if count > 3000:
                break


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=4000), st.sampled_from([b"", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3"]))
def test_noise(data: bytes, magic: bytes) -> None:
    readers: list[tuple[Callable[[bytes], object], type[Exception]]] = [
        (read_audio, AudioUnreadable),
        (read_video, VideoUnreadable),
    ]
    for read, error in readers:
        with suppress(error):
            read(magic + data)


def test_the_samples_themselves_are_sound() -> None:
    for container in ("wav", "mp3", "ogg", "flac", "mp4"):
        assert sum(len(samples) for samples, _ in read_audio(_sample(container))) > 6000
    assert len(list(read_video(_sample("mp4")))) == 10
    with pytest.raises(VideoUnreadable):
        read_video(_sample("mp3"))
