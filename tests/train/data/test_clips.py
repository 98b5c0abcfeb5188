"""Videos: read at 25 frames a second from any rate and any place, refused where they are damaged."""

import os
from pathlib import Path

import numpy as np
import pytest

from engine.errors import VideoUnreadable
from tests.train.video_factory import face_frames, voice, write_video
from train.data.readers.clips import read_audio, read_frames, video_facts


@pytest.mark.parametrize(("rate_hz", "frames"), [(25.0, 40), (30.0, 33), (50.0, 20), (10.0, 100)])
def test_any_rate_becomes_25(tmp_path: Path, rate_hz: float, frames: int) -> None:
    shade = [np.full((64, 64, 3), 5 * i, np.uint8) for i in range(40)]
    video = write_video(tmp_path / "film.mp4", shade, rate_hz=rate_hz)
    read = list(read_frames(video))
    assert len(read) == pytest.approx(frames, abs=2)
    assert video_facts(video).rate_hz == pytest.approx(rate_hz, rel=0.05)
    for t, rgb in enumerate(read[: frames - 3]):
        on_screen = int(t / 25 * rate_hz + 1e-6)
        assert float(rgb.mean()) == pytest.approx(5 * on_screen, abs=3)


def test_part_of_a_video_is_that_part_of_the_whole(tmp_path: Path) -> None:
    shade = [np.full((64, 64, 3), i, np.uint8) for i in range(200)]
    video = write_video(tmp_path / "film.mp4", shade)
    whole, part = list(read_frames(video)), list(read_frames(video, 4.0, 6.0))
    assert len(part) == 50
    assert all(np.array_equal(a, b) for a, b in zip(part, whole[100:150], strict=True))
    audio, cut = read_audio(video), read_audio(video, 4.0, 6.0)
    assert audio is not None
    assert cut is not None
    assert len(cut) == 32000
    assert np.corrcoef(cut[800:-800], audio[64800:95200])[0, 1] > 0.98
    assert np.corrcoef(audio[:16000], np.resize(voice(), 16000))[0, 1] > 0.9


def test_damage_is_refused_by_name(tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mp4", face_frames(), repeat=4)
    data = bytearray(video.read_bytes())
    for name, cut in (("cut.mp4", len(data) // 2), ("head.mp4", 200), ("empty.mp4", 0)):
        (tmp_path / name).write_bytes(data[:cut])
        with pytest.raises(VideoUnreadable, match=name):
            list(read_frames(tmp_path / name))
    middle = len(data) // 2
    data[middle : middle + 3000] = os.urandom(3000)
    (tmp_path / "middle.mp4").write_bytes(data)
    with pytest.raises(VideoUnreadable, match=r"middle\.mp4"):
        list(read_frames(tmp_path / "middle.mp4"))
    with pytest.raises(VideoUnreadable, match="ends at"):
        list(read_frames(video, 4.0, 9.0))
    with pytest.raises(VideoUnreadable, match="does not exist"):
        video_facts(tmp_path / "gone.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile film.mp4\n")
    with pytest.raises(VideoUnreadable, match=r"list\.mp4"):
        list(read_frames(tmp_path / "list.mp4"))


def test_real_video_truncated_is_refused(data_dir: Path, tmp_path: Path) -> None:
    for name in ("grid-bbaf2n.mpg", "address-hill.mp4"):
        data = (data_dir / "clips" / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(VideoUnreadable, match=name):
            list(read_frames(tmp_path / name))
