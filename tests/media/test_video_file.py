from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import VideoUnreadable
from engine.media import Mp4Writer, read_video

RGB = NDArray[np.uint8]


def _grey(level: int, width: int = 32, height: int = 16) -> RGB:
    return np.full((height, width, 3), level, np.uint8)


def _video(path: Path, times_ms: list[int], levels: list[int]) -> Path:
    """Grey frames shown from the given times on."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "5", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms, level in zip(times_ms, levels, strict=True):
            frame = av.VideoFrame.from_ndarray(_grey(level), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def _levels(path: Path) -> list[int]:
    return [round(float(rgb.mean()) / 10) * 10 for rgb in read_video(path)]


@pytest.mark.parametrize("rate", [10, 24, 25, 30, 50, 60])
def test_any_rate_becomes_25_and_lasts_as_long(tmp_path: Path, rate: int) -> None:
    times = [round(1000 * k / rate) for k in range(2 * rate)]
    path = _video(tmp_path / "film.mp4", times, [20 + 200 * k // len(times) for k in range(len(times))])
    frames = list(read_video(path))
    assert abs(len(frames) - 50) <= 3
    for t, rgb in enumerate(frames[:48]):
        shown = max(k for k, time in enumerate(times) if time <= 40 * t)
        assert abs(float(rgb.mean()) - (20 + 200 * shown // len(times))) < 5


def test_changing_rate_holds_the_frame_on_screen(tmp_path: Path) -> None:
    path = _video(tmp_path / "film.mp4", [0, 40, 50, 60, 200, 240], [50, 100, 10, 150, 200, 250])
    assert _levels(path)[:7] == [50, 100, 150, 150, 150, 200, 250]


def test_time_starts_at_the_first_frame(tmp_path: Path) -> None:
    assert _levels(_video(tmp_path / "late.mp4", [700, 740, 780], [50, 100, 200])) == [50, 100, 200]


def test_one_frame_and_bytes(tmp_path: Path) -> None:
    path = _video(tmp_path / "one.mp4", [0], [100])
    assert len(list(read_video(path.read_bytes()))) == 1


@pytest.mark.parametrize(("turn", "bright"), [(0, (0, 0)), (90, (0, 1)), (180, (1, 1)), (270, (1, 0))])
def test_phone_rotation_is_applied(tmp_path: Path, turn: int, bright: tuple[int, int]) -> None:
    rgb = _grey(20)
    rgb[:8, :16] = 240
    path = tmp_path / "phone.mp4"
    with Mp4Writer(path, (32, 16), audio_rate_hz=None) as video:
        video.write(rgb, 0)
    path.write_bytes(_with_rotation(path.read_bytes(), turn))
    frame = next(read_video(path))
    assert frame.shape == ((16, 32, 3) if turn % 180 == 0 else (32, 16, 3))
    quarters = frame.reshape(2, frame.shape[0] // 2, 2, frame.shape[1] // 2, 3).mean(axis=(1, 3, 4))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == bright


def _with_rotation(data: bytes, turn: int) -> bytes:
    """Set the matrix of the track header (ISO/IEC 14496-12, 8.3) to a clockwise turn, as phones do."""
    at = data.index(b"tkhd") + 4 + 40
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    matrix = np.array([cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    return data[:at] + matrix + data[at + 36 :]


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"no video " * 300, "no format")])
def test_garbage_is_refused_at_once(data: bytes, reason: str) -> None:
    with pytest.raises(VideoUnreadable, match=reason):
        read_video(data)


def test_missing_folder_and_audio_file_are_refused(tmp_path: Path, voice_path: Path) -> None:
    with pytest.raises(VideoUnreadable, match="does not exist"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(VideoUnreadable, match="folder"):
        read_video(tmp_path)
    with pytest.raises(VideoUnreadable, match="no video track"):
        read_video(voice_path)


def test_a_leap_in_time_is_refused(tmp_path: Path) -> None:
    path = _video(tmp_path / "leap.mp4", [0, 40, 3_600_000], [50, 100, 200])
    with pytest.raises(VideoUnreadable, match="jump"):
        list(read_video(path))
