"""One person is followed through a video: nearest to the last, gone for a while, one word about it."""

import logging
import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import FaceTooSmall, NoFaceFound, VideoUnreadable
from engine.portrait import FaceLandmarker, follow_face

_Rgb = NDArray[np.uint8]


def _scene(*placed: tuple[_Rgb, int, int, int]) -> _Rgb:
    """Grey (360, 640, 3) with pictures (face, left, top, side)."""
    scene = np.full((360, 640, 3), 120, np.uint8)
    for face, left, top, side in placed:
        scene[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return scene


def _middles(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    return landmarks[:, :, 0].mean(1)


def test_the_person_of_the_first_frame_is_followed_though_another_gets_larger(
    face: _Rgb, landmarker: FaceLandmarker
) -> None:
    other = np.ascontiguousarray(face[:, ::-1])
    frames = [_scene((face, 100 + 2 * k, 60, 240), (other, 380, 60, 150 + 7 * k)) for k in range(16)]
    landmarks, size = follow_face(frames, landmarker)
    assert size == 640
    middles = _middles(landmarks)
    assert np.abs(np.diff(middles) - 2).max() < 2
    assert middles[-1] < 320


def test_a_face_that_is_gone_or_small_for_a_while_is_said_once(
    face: _Rgb, landmarker: FaceLandmarker, caplog: pytest.LogCaptureFixture
) -> None:
    there, tiny = _scene((face, 200, 60, 240)), _scene((face, 300, 160, 100))
    frames = [there] * 5 + [_scene()] * 5 + [tiny] * 5 + [there] * 5
    with caplog.at_level(logging.WARNING):
        landmarks, _ = follow_face(frames, landmarker)
    seen = np.isfinite(landmarks).all((1, 2))
    assert seen.tolist() == [True] * 5 + [False] * 10 + [True] * 5
    assert [record.getMessage() for record in caplog.records] == [
        "the driving video shows no face from 0.2 to 0.6 s: the motion is eased over that"
    ]


def test_somebody_else_is_followed_after_a_second(
    face: _Rgb, landmarker: FaceLandmarker, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [_scene((face, 0, 60, 240))] * 3 + [_scene((face, 400, 60, 240))] * 30
    with caplog.at_level(logging.WARNING):
        landmarks, _ = follow_face(frames, landmarker)
    seen = np.isfinite(landmarks).all((1, 2))
    assert seen.tolist() == [True] * 3 + [False] * 25 + [True] * 5
    assert "somebody else from 1.1 s on" in caplog.text


def test_frames_without_a_face_cost_little(landmarker: FaceLandmarker) -> None:
    """A plain look each; the laborious search at most once a second of video."""
    empty = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    calls = []
    run = landmarker._run
    landmarker._run = lambda pixels: calls.append(time) or run(pixels)  # type: ignore[method-assign,func-returns-value]
    try:
        with pytest.raises(NoFaceFound):
            follow_face([empty] * 50, landmarker)
    finally:
        del landmarker._run
    assert len(calls) < 50 + 2 * 60


def test_videos_that_show_nobody_large_enough_are_named(face: _Rgb, landmarker: FaceLandmarker) -> None:
    with pytest.raises(VideoUnreadable):
        follow_face([], landmarker)
    with pytest.raises(FaceTooSmall, match="48 px"):
        follow_face([_scene((face, 300, 160, 100))] * 3, landmarker)
