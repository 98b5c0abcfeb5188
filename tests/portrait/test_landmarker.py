"""Faces of every size and place; images without one."""

import logging

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import FaceTooSmall, NoFaceFound
from engine.portrait import FaceLandmarker

_Rgb = NDArray[np.uint8]


def _on_grey(face: _Rgb, side: int, left: int, top: int, height: int, width: int) -> _Rgb:
    image = np.full((height, width, 3), 128, np.uint8)
    image[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return image


def test_landmarks_lie_where_a_face_has_them(landmarker: FaceLandmarker, face: _Rgb) -> None:
    points = landmarker.detect(face)
    assert points.shape == (478, 3)
    assert points.dtype == np.float32
    nose, chin, left_eye, right_eye = points[[4, 152, 33, 263]]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < chin[1]
    assert nose[2] < left_eye[2]
    assert (points[:, :2] > 0).all()
    assert (points[:, :2] < 512).all()


def test_the_same_image_gives_the_same_landmarks(landmarker: FaceLandmarker, face: _Rgb) -> None:
    np.testing.assert_array_equal(landmarker.detect(face), landmarker.detect(face))


@pytest.mark.parametrize("side", [150, 256, 1024])
def test_landmarks_follow_the_size_of_the_image(landmarker: FaceLandmarker, face: _Rgb, side: int) -> None:
    points = landmarker.detect(face)
    small = landmarker.detect(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)) * 512 / side
    assert np.abs(small[:, :2] - points[:, :2]).mean() < 6


def test_a_face_that_fills_the_image_is_found(landmarker: FaceLandmarker, face: _Rgb) -> None:
    points = landmarker.detect(face)
    left, top = points[:, :2].min(0).astype(int) + 12
    right, bottom = points[:, :2].max(0).astype(int) - 12
    close = landmarker.detect(face[top:bottom, left:right]) + np.array([left, top, 0])
    assert np.abs(close[:, :2] - points[:, :2]).mean() < 12


def test_a_far_face_is_found_in_a_large_image(landmarker: FaceLandmarker, face: _Rgb) -> None:
    here = landmarker.detect(face) * 240 / 512
    far = landmarker.detect(_on_grey(face, 240, 1500, 900, 1400, 2000)) - np.array([1500, 900, 0])
    assert np.abs(far[:, :2] - here[:, :2]).mean() < 3


def test_the_largest_face_wins_and_the_log_says_so(
    landmarker: FaceLandmarker, face: _Rgb, caplog: pytest.LogCaptureFixture
) -> None:
    image = _on_grey(face, 300, 20, 50, 420, 760)
    image[20:420, 350:750] = cv2.resize(face, (400, 400), interpolation=cv2.INTER_AREA)
    with caplog.at_level(logging.INFO, logger="engine.portrait.landmarker"):
        points = landmarker.detect(image)
    assert (points[:, 0] > 350).all()
    assert "2 faces" in caplog.text


@pytest.mark.parametrize("shape", [(512, 512, 3), (1, 1, 3), (3, 900, 3), (64, 64, 3)])
def test_no_face(landmarker: FaceLandmarker, shape: tuple[int, int, int]) -> None:
    for image in (
        np.full(shape, 90, np.uint8),
        np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8),
    ):
        with pytest.raises(NoFaceFound):
            landmarker.detect(image)


def test_a_tiny_face_is_too_small(landmarker: FaceLandmarker, face: _Rgb) -> None:
    with pytest.raises(FaceTooSmall, match="48"):
        landmarker.detect(cv2.resize(face, (72, 72), interpolation=cv2.INTER_AREA))


def test_nothing_is_printed(face: _Rgb, capfd: pytest.CaptureFixture[str]) -> None:
    landmarker = FaceLandmarker()
    landmarker.detect(face)
    assert capfd.readouterr().err == ""
