import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import OutputUnwritable
from engine.media import VIDEO_COMMENT, Mp4Writer, read_audio, read_video

RGB = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def _grey(level: int, size: tuple[int, int] = (64, 48)) -> RGB:
    return np.full((size[1], size[0], 3), level, np.uint8)


def _flashes_and_clicks(path: Path, rate: int, channels: int = 1) -> None:
    """Three seconds with a white frame and a 10 ms tone at 1.0 and 2.0 s."""
    sound = np.zeros((3 * rate, channels), np.float32)
    for second in (1, 2):
        tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 100) / rate)
        sound[second * rate : second * rate + rate // 100] = 0.9 * tone[:, None]
    with Mp4Writer(path, (64, 48), rate, channels) as video:
        for t in range(75):
            video.write(_grey(230 if t in (25, 50) else 30), 640 * t)
            piece = sound[t * rate // 25 : (t + 1) * rate // 25]
            video.write_audio(piece if channels > 1 else piece[:, 0])


def _offsets_ms(path: Path) -> list[float]:
    """Sound minus image at each flash, by the time stamps of the file."""
    with av.open(str(path)) as video:
        light = [(frame.time, frame.to_ndarray(format="gray").mean() > 128) for frame in video.decode(video=0)]
    with av.open(str(path)) as video:
        frames = list(video.decode(audio=0))
    rate, start = frames[0].sample_rate, frames[0].time
    loud = np.flatnonzero(np.abs(np.concatenate([frame.to_ndarray()[0] for frame in frames])) > 0.2)
    first = loud[np.concatenate([[True], np.diff(loud) > rate // 4])]
    flashes = [time for time, on in light if on]
    assert len(first) == len(flashes) == 2
    return [1000 * (start + sample / rate - flash) for sample, flash in zip(first, flashes, strict=True)]


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 1), (44100, 2), (48000, 1), (192000, 1)])
def test_audio_and_image_are_in_time(tmp_path: Path, rate: int, channels: int) -> None:
    _flashes_and_clicks(tmp_path / "video.mp4", rate, channels)
    assert max(map(abs, _offsets_ms(tmp_path / "video.mp4"))) <= 15


def test_video_says_what_it_is_and_plays_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    _flashes_and_clicks(path, 16000)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index must come first"
    with av.open(str(path)) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert file.metadata["comment"] == VIDEO_COMMENT
        assert (video.codec_context.name, video.pix_fmt, audio.codec_context.name) == (
            "h264",
            "yuv420p",
            "aac",
        )
        assert (video.frames, video.average_rate, float(video.duration * video.time_base)) == (75, 25, 3.0)
        assert abs(float(audio.duration * audio.time_base) - 3.0) < 0.07
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("colour", [(200, 60, 40), (30, 160, 220), (128, 128, 128), (255, 255, 255), (0, 0, 0)])
def test_colours_come_back(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    with Mp4Writer(tmp_path / "video.mp4", (64, 48), audio_rate_hz=None) as video:
        video.write(np.broadcast_to(np.array(colour, np.uint8), (48, 64, 3)), 0)
    with av.open(str(tmp_path / "video.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)
    rgb = next(read_video(tmp_path / "video.mp4"))
    np.testing.assert_allclose(rgb[24, 32], colour, atol=4)


def test_odd_sizes_get_one_more_row_and_column(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "video.mp4", (33, 17)) as video:
        video.write(_grey(90, (33, 17)), 0)
    assert next(read_video(tmp_path / "video.mp4")).shape == (18, 34, 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_playable_video_stays_after_an_interruption(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"an older file")

    def interrupted() -> None:
        with Mp4Writer(path, (64, 48)) as video:
            for t in range(30):
                assert path.read_bytes() == b"an older file"
                video.write(_grey(t), 640 * t)
                video.write_audio(np.zeros(640, np.float32))
            raise error

    with pytest.raises(error):
        interrupted()
    assert len(list(read_video(path))) == 30
    assert sum(len(samples) for samples, _ in read_audio(path)) >= 30 * 640
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Mp4Writer(tmp_path / "video.mp4", (64, 48)):
        raise RuntimeError
    with Mp4Writer(tmp_path / "video.mp4", (64, 48)) as video:
        video.write_audio(np.zeros(100, np.float32))
    assert list(tmp_path.iterdir()) == []


_WRITER = """
import resource, signal, sys
import numpy as np
from engine.errors import OutputUnwritable
from engine.media import Mp4Writer
if sys.argv[2] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
noise = np.random.default_rng(0)
try:
    with Mp4Writer(sys.argv[1], (128, 128)) as video:
        for t in range(2000):
            video.write(noise.integers(0, 255, (128, 128, 3)).astype(np.uint8), 640 * t)
            video.write_audio(np.zeros(640, np.float32))
            if t == 120 and sys.argv[2] == "kill":
                print("ready", flush=True)
                sys.stdin.read()
except OutputUnwritable as error:
    print(error)
    sys.exit(3)
"""


def test_a_full_disk_is_named_and_the_beginning_kept(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    result = subprocess.run(
        [sys.executable, "-c", _WRITER, str(path), "full"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 3, result.stderr
    assert "cannot be written" in result.stdout
    assert "so far is kept" in result.stdout
    assert len(list(read_video(path))) >= 50
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_a_playable_part(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", _WRITER, str(tmp_path / "video.mp4"), "kill"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    (part,) = tmp_path.iterdir()
    assert len(list(read_video(part))) >= 40


def test_targets_that_cannot_be_are_named(tmp_path: Path) -> None:
    for target, reason in (
        (Path("/dev/full"), "plain file"),
        (tmp_path, "plain file"),
        (tmp_path / "absent" / "video.mp4", "does not exist"),
    ):
        with pytest.raises(OutputUnwritable, match=reason):
            Mp4Writer(target, (64, 48))


def test_misuse_is_named(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "video.mp4", (64, 48), audio_rate_hz=None) as video:
        video.write(_grey(1), 0)
        with pytest.raises(ValueError, match="rise"):
            video.write(_grey(1), 0)
        with pytest.raises(ValueError, match="frames must be"):
            video.write(_grey(1, (48, 64)), 640)
        with pytest.raises(ValueError, match="without audio"):
            video.write_audio(np.zeros(10, np.float32))
    video.close()
    with pytest.raises(ValueError, match="closed"):
        video.write(_grey(1), 640)
