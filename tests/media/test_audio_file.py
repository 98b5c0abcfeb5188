import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import AudioUnreadable
from engine.media import Mp4Writer, audio_duration_s, read_audio

Float32 = NDArray[np.float32]

FORMATS = [
    ("wav", "pcm_s16le"),
    ("wav", "pcm_s24le"),
    ("wav", "pcm_f32le"),
    ("flac", "flac"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("webm", "libopus"),
    ("mp4", "aac"),
]


def _write(path: Path, codec: str, wave: Float32, rate: int = 48000, container: str | None = None) -> Path:
    """`wave` (n,) or (n, 2) into a file by PyAV."""
    planes = wave[None] if wave.ndim == 1 else wave.T
    layout = "mono" if len(planes) == 1 else "stereo"
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def _tone(seconds: float = 1.0, rate: int = 48000) -> Float32:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def _join(source: Path | bytes) -> tuple[Float32, int]:
    chunks = list(read_audio(source))
    return np.concatenate([samples for samples, _ in chunks]), chunks[0][1]


@pytest.mark.parametrize(("container", "codec"), FORMATS)
def test_reads_every_common_format(tmp_path: Path, container: str, codec: str) -> None:
    tone = _tone()
    path = _write(tmp_path / f"sound.{container}", codec, tone)
    for source in (path, path.read_bytes()):
        samples, rate = _join(source)
        assert (rate, samples.dtype, samples.ndim) == (48000, np.float32, 1)
        assert 0 <= len(samples) - len(tone) < 3000
        assert audio_duration_s(source) == pytest.approx(1.0, abs=0.1)
        # in time: encoders' lead-in is taken away
        error = samples[5000:40000] - tone[5000:40000]
        assert np.sqrt(np.mean(error**2)) < 0.05


def test_stereo_keeps_its_channels(tmp_path: Path) -> None:
    tone = np.stack([_tone(), 0 * _tone()], axis=1)
    samples, _ = _join(_write(tmp_path / "stereo.flac", "flac", tone))
    assert samples.shape == (48000, 2)
    assert np.abs(samples[:, 0]).max() > 0.45
    assert np.abs(samples[:, 1]).max() == 0


def test_telephone_rate(tmp_path: Path) -> None:
    assert _join(_write(tmp_path / "phone.wav", "pcm_mulaw", _tone(1, 8000), 8000))[1] == 8000


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "long.wav", "pcm_s16le", np.zeros(8000 * 300, np.float32), 8000)
    tracemalloc.start()
    total = sum(len(samples) for samples, _ in read_audio(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 8000 * 300
    assert peak < 2_000_000


def test_a_truncated_file_gives_what_it_has(tmp_path: Path) -> None:
    path = _write(tmp_path / "whole.mp3", "libmp3lame", _tone(3))
    samples, _ = _join(path.read_bytes()[: path.stat().st_size // 2])
    assert 48000 < len(samples) < 2 * 48000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not audio at all " * 200, "no format"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "no format|no sound"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n", "no format"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "no format"),
    ],
)
def test_garbage_is_refused_at_once(data: bytes, reason: str) -> None:
    with pytest.raises(AudioUnreadable, match=reason):
        read_audio(data)


def test_missing_folder_and_silent_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioUnreadable, match="does not exist"):
        read_audio(tmp_path / "absent.wav")
    with pytest.raises(AudioUnreadable, match="folder"):
        read_audio(tmp_path)
    with Mp4Writer(tmp_path / "mute.mp4", (16, 16), audio_rate_hz=None) as video:
        video.write(np.zeros((16, 16, 3), np.uint8), 0)
    for read in (read_audio, audio_duration_s):
        with pytest.raises(AudioUnreadable, match="no audio track"):
            read(tmp_path / "mute.mp4")


def test_many_channels(tmp_path: Path) -> None:
    data = _write(tmp_path / "many.wav", "pcm_s16le", np.zeros(48000, np.float32)).read_bytes()
    assert _join(_with_channels(data, 12))[0].shape == (4000, 12)
    with pytest.raises(AudioUnreadable, match="100 channels"):
        read_audio(_with_channels(data, 100))


def _with_channels(data: bytes, channels: int) -> bytes:
    """Set the fields of a WAVE header that tell the channels of 16-bit samples."""
    count, block = channels.to_bytes(2, "little"), (2 * channels).to_bytes(2, "little")
    return data[:22] + count + data[24:32] + block + data[34:]


def test_file_without_samples_is_refused(tmp_path: Path) -> None:
    header = _write(tmp_path / "short.wav", "pcm_s16le", _tone(0.1)).read_bytes()[:78]
    with pytest.raises(AudioUnreadable):
        read_audio(header)


def test_the_demo_voice(voice_path: Path) -> None:
    samples, rate = _join(voice_path)
    assert rate == 16000
    assert 6 < len(samples) / rate < 10
    assert 0.5 < np.abs(samples).max() <= 1
    assert voice_path.stat().st_size < 300_000
