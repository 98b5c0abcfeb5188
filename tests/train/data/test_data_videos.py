"""Films: read at 25 a second from any rate and any place, refused where they are damaged; cuts and speakers found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError, VideoUnreadable
from engine.portrait import FaceLandmarker
from tests.train.video_factory import Image, face_frames, voice, write_video
from tests.train.worker_task import square
from train.data.pipeline.shots import find_cuts, thumbnail
from train.data.pipeline.tracking import TrackingConfig, fill_gaps, track_face
from train.data.pipeline.workers import WorkerDied, run_tasks
from train.data.readers.clips import read_audio, read_frames, video_facts
from train.data.readers.source_clip import Box, FaceBox


@pytest.fixture(scope="module")
def landmarker() -> Iterator[FaceLandmarker]:
    made = FaceLandmarker()
    yield made
    made.close()


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


def _thumbnails(frames: list[Image]) -> np.ndarray:
    return np.stack([thumbnail(frame) for frame in frames])


def test_cuts_are_found_and_motion_is_none() -> None:
    frames = list(face_frames())
    other = [255 - frame for frame in frames]
    assert find_cuts(_thumbnails(frames)) == []
    assert find_cuts(_thumbnails(frames[:10] + other[:10])) == [10]
    assert find_cuts(_thumbnails(frames[:10] + other[:10] + frames[10:20])) == [10, 20]


def test_a_flash_is_no_cut() -> None:
    frames = list(face_frames())
    flash = np.clip(frames[10].astype(int) + 90, 0, 255).astype(np.uint8)
    assert find_cuts(_thumbnails([*frames[:10], flash, *frames[11:]])) == []
    assert find_cuts(_thumbnails([*frames[:10], flash, flash, *frames[12:]])) == []


def test_face_is_tracked_and_short_gaps_are_filled(landmarker: FaceLandmarker) -> None:
    frames = list(face_frames())
    track = track_face(frames, landmarker, TrackingConfig())
    assert track.shape == (32, 478, 3)
    blind = [*frames[:10], np.zeros_like(frames[0]), *frames[11:]]
    filled = track_face(blind, landmarker, TrackingConfig(max_jump=9))
    assert np.allclose(filled[10], (track[9] + track[11]) / 2, atol=0.01)
    gap = track.copy()
    gap[0] = np.nan
    assert np.array_equal(fill_gaps(gap)[0], track[1])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda f: f[:20], "20 frames are too short"),
        (lambda f: [np.full_like(f[0], 90)] * 30, "no face for more than 5 frames in a row at 0.20 s"),
        (lambda f: [*f[:12], *(np.zeros_like(f[0]),) * 3, *f[12:]], "a face in only 91 %"),
        (lambda f: [*f, *(255 - g[:, ::-1] // 3 for g in f)], "a cut at 1.28 s|no face"),
        (lambda f: [np.concatenate([g, g], 1) for g in f], "several people"),
        (lambda f: [np.roll(g, 90 * (i >= 16), 1) for i, g in enumerate(f)], "cut at 0.64 s|jumps at 0.64 s"),
    ],
    ids=["short", "no face", "gaps", "two shots", "two people", "jump"],
)
def test_unfit_clip_is_refused_with_the_reason(landmarker: FaceLandmarker, make, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=reason):
        track_face(make(list(face_frames())), landmarker, TrackingConfig())


def test_annotated_speaker_is_followed_among_others(landmarker: FaceLandmarker) -> None:
    pair = [np.concatenate([g, g[:, ::-1]], 1) for g in face_frames()[:26]]
    box = Box(256 + 80, 60, 100, 130, 256)
    track = track_face(pair, landmarker, TrackingConfig(), face_boxes=(FaceBox(0.0, box), FaceBox(1.0, box)))
    assert track[..., 0].min() > 256
    window = Box(0.5, 0, 0.5, 1)
    assert np.abs(track_face(pair, landmarker, TrackingConfig(), window) - track).mean() < 2
    with pytest.raises(InputError, match="outside the image"):
        track_face(pair, landmarker, TrackingConfig(), Box(2, 2, 1, 1))


def test_a_crash_costs_one_task_and_an_error_ends_the_run() -> None:
    results = {}

    def run() -> None:
        for index, result in run_tasks(square, [0, 1, 3, 4, 99, 5], workers=1, description="squares"):
            results[index] = result

    with pytest.raises(InputError, match="this one"):
        run()
    assert results == {0: 0, 1: 1, 2: WorkerDied(7), 3: 16}
    assert list(run_tasks(square, [5], workers=0, description="squares")) == [(0, 25)]
