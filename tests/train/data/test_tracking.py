"""Cuts and speakers are found, unfit clips refused; a crash of a decoder costs one clip."""

import numpy as np
import pytest

from engine.errors import InputError
from engine.portrait import FaceLandmarker
from tests.train.video_factory import Image, face_frames
from tests.train.worker_task import square
from train.data.pipeline.shots import find_cuts, thumbnail
from train.data.pipeline.tracking import TrackingConfig, fill_gaps, track_face
from train.data.pipeline.workers import WorkerDied, run_tasks
from train.data.readers.source_clip import Box, FaceBox


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


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
