"""The head crop: size, place, landmarks that follow, and no visible border."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.portrait import CROP_SIZE, FaceLandmarker, crop_face

_Rgb = NDArray[np.uint8]
_Points = NDArray[np.float32]


@pytest.fixture(scope="module")
def points(landmarker: FaceLandmarker, face: _Rgb) -> _Points:
    """Landmarks of the bundled portrait."""
    return landmarker.detect(face)


def test_crop_is_square_and_the_head_is_in_it(face: _Rgb, points: _Points) -> None:
    crop = crop_face(face, points)
    assert crop.rgb.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert crop.rgb.dtype == np.uint8
    low, high = crop.landmarks_px[:, :2].min(0), crop.landmarks_px[:, :2].max(0)
    assert 1 / 1.95 < (high - low).max() / CROP_SIZE < 1 / 1.6
    assert low.min() > 20
    assert high.max() < CROP_SIZE - 20


def test_landmarks_follow_the_matrix(face: _Rgb, points: _Points) -> None:
    crop = crop_face(face, points)
    np.testing.assert_allclose(
        points[:, :2] @ crop.matrix[:, :2].T + crop.matrix[:, 2], crop.landmarks_px[:, :2], atol=1e-2
    )
    np.testing.assert_allclose(crop.landmarks_px[:, 2], points[:, 2] * crop.matrix[0, 0], atol=1e-3)


def test_pixels_follow_the_matrix(points: _Points) -> None:
    ramp = np.tile(np.linspace(0, 255, 512).astype(np.uint8)[None, :, None], (512, 1, 3))
    crop = crop_face(ramp, points)
    column = np.arange(CROP_SIZE) + 0.5
    source = (column - crop.matrix[0, 2]) / crop.matrix[0, 0]
    inside = (source > 8) & (source < 504)
    expected = (source - 0.5) / 511 * 255
    assert np.abs(crop.rgb[128, inside, 0] - expected[inside]).max() < 1.5


def test_detecting_again_in_the_crop_agrees(landmarker: FaceLandmarker, face: _Rgb, points: _Points) -> None:
    crop = crop_face(face, points)
    again = landmarker.detect(crop.rgb)
    assert np.abs(again[:, :2] - crop.landmarks_px[:, :2]).mean() < 2.5


def test_outside_the_image_there_is_no_border(face: _Rgb, points: _Points) -> None:
    left, top = points[:, :2].min(0).astype(int) - 4
    right, bottom = points[:, :2].max(0).astype(int) + 4
    crop = crop_face(face[top:bottom, left:right], points - np.array([left, top, 0], np.float32))
    assert crop.rgb.min(axis=2).mean() > 20
    for edge in (crop.rgb[0], crop.rgb[-1], crop.rgb[:, 0], crop.rgb[:, -1]):
        assert edge.mean() > 30
        assert np.abs(np.diff(edge.astype(int), axis=0)).max() < 12


def test_a_tight_image_is_not_left_where_a_smaller_crop_fits(face: _Rgb, points: _Points) -> None:
    size = float((points[:, :2].max(0) - points[:, :2].min(0)).max())
    middle = (points[:, :2].max(0) + points[:, :2].min(0)) / 2 - [0, 0.1 * size]
    low = np.floor(middle - 0.86 * size).astype(int).clip(0)
    high = np.ceil(middle + 0.86 * size).astype(int)
    tight = face[low[1] : high[1], low[0] : high[0]]
    crop = crop_face(tight, points - np.array([*low, 0], np.float32))
    corners = np.array([[0, 0], [CROP_SIZE, CROP_SIZE]])
    source = (corners - crop.matrix[:, 2]) / crop.matrix[0, 0]
    assert (source[0] > -0.5).all()
    assert (source[1] < np.array(tight.shape[1::-1]) + 0.5).all()


def test_a_face_beside_the_image_still_gives_a_crop(face: _Rgb, points: _Points) -> None:
    for shift in ((-900, 0), (900, 0), (0, -900), (0, 900)):
        crop = crop_face(face, points + np.array([*shift, 0], np.float32))
        assert crop.rgb.shape == (CROP_SIZE, CROP_SIZE, 3)


def test_shrinking_does_not_alias(points: _Points) -> None:
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = crop_face(stripes, points * 4)
    assert crop.rgb.std() < 8
