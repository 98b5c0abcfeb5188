"""All of a file is read, or the user is told how much is not."""

import io
import logging
import os
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import AudioUnreadable, VideoUnreadable
from engine.media import MediaFile, audio_duration_s, read_audio


def _encoded(container: str, codec: str, seconds: float, rate: int = 48000) -> bytes:
    buffer = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * rate)) / rate)
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _seconds(source: bytes | Path | MediaFile) -> float:
    return sum(len(samples) / rate for samples, rate in read_audio(source))


@pytest.mark.parametrize(
    ("container", "codec", "rates"),
    [
        ("ogg", "libopus", (48000, 48000)),
        ("ogg", "flac", (48000, 48000)),
        ("ogg", "flac", (22050, 44100)),
        ("wav", "pcm_s16le", (48000, 16000)),
    ],
)
def test_recordings_behind_one_another_are_all_read(container: str, codec: str, rates: tuple[int, int]) -> None:
    joined = b"".join(_encoded(container, codec, 0.8, rate) for rate in rates)
    assert _seconds(joined) == pytest.approx(1.6, abs=0.03)
    assert audio_duration_s(joined) == pytest.approx(1.6, abs=0.03)


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("flac", "flac")])
def test_a_file_that_was_cut_off_says_how_much_is_lost(
    container: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = _encoded(container, codec, 2.0)
    with caplog.at_level(logging.WARNING):
        assert _seconds(whole[: len(whole) * 3 // 4]) == pytest.approx(1.5, abs=0.2)
    assert "states 2.0 s" in caplog.text
    with pytest.raises(AudioUnreadable, match=r"states 2\.0 s, of which 0\.\d s"):
        _seconds(whole[: len(whole) // 4])


@pytest.mark.parametrize("stated", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36])
def test_a_wave_file_from_a_pipe_states_no_length(stated: int, caplog: pytest.LogCaptureFixture) -> None:
    samples = (8000 * np.sin(np.arange(16000) / 9)).astype("<i2").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", stated, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    assert _seconds(header + struct.pack("<4sI", b"data", stated) + samples) == pytest.approx(1.0, abs=0.01)
    assert not caplog.text


def test_a_pipe_is_read_to_its_end_and_more_than_once(tmp_path: Path) -> None:
    pipe = tmp_path / "voice"
    os.mkfifo(pipe)
    data = _encoded("wav", "pcm_s16le", 1.0)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    file = MediaFile(pipe, AudioUnreadable)
    writer.join()
    assert audio_duration_s(file) == pytest.approx(1.0)
    assert _seconds(file) == pytest.approx(1.0)
    assert file.sha256() == MediaFile(_saved(tmp_path, data), AudioUnreadable).sha256()


def _saved(folder: Path, data: bytes) -> Path:
    (folder / "saved.wav").write_bytes(data)
    return folder / "saved.wav"


def test_a_file_stays_what_it_was_when_it_was_opened(tmp_path: Path) -> None:
    path = _saved(tmp_path, _encoded("wav", "pcm_s16le", 1.0))
    file = MediaFile(path, AudioUnreadable)
    digest = file.sha256()
    path.unlink()
    path.write_bytes(b"something else")
    assert _seconds(file) == pytest.approx(1.0)
    assert file.sha256() == digest


@pytest.mark.parametrize("name", ["missing.wav", "a\0b.wav", "x" * 300])
def test_names_that_open_nothing_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoUnreadable, match=r"exist|read"):
        MediaFile(tmp_path / name, VideoUnreadable)


def test_a_later_recording_that_cannot_be_opened_counts_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    good, broken = _encoded("wav", "pcm_s16le", 1.0), bytearray(_encoded("wav", "pcm_s16le", 10.0))
    place = broken.index(b"fmt ") + 8
    broken[place : place + 2] = b"\xee\xee"  # a codec that nobody has
    with pytest.raises(AudioUnreadable, match=r"of which 1\.0 s"):
        _seconds(good + bytes(broken))


def test_silence_in_place_of_damage_is_no_audio_that_was_read() -> None:
    """Four fifths of the packets in the middle are noise; the end is sound again."""
    data = bytearray(_encoded("flac", "flac", 4.0))
    start, stop = len(data) // 10, len(data) * 9 // 10
    data[start:stop] = np.random.default_rng(0).integers(0, 255, stop - start, np.uint8).tobytes()
    with pytest.raises(AudioUnreadable, match="damaged or was cut off"):
        _seconds(bytes(data))
