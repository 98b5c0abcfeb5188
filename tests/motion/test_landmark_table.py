"""The index table: sizes, mirror symmetry, agreement of the 68 points with the mean face."""

import numpy as np
import pytest

from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import (
    BROWS_68,
    IBUG_68,
    INNER_LIPS,
    LID_LEFT,
    LID_RIGHT,
    LOWER_LIDS_68,
    MIRROR,
    OUTER_LIPS,
    RIGID,
    UPPER_LIDS_68,
    mirror_landmarks,
)

_MIRROR_68 = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip


def test_mirror_is_its_own_inverse() -> None:
    assert (MIRROR[MIRROR] == np.arange(478)).all()


def test_the_68_are_distinct_and_mirror_onto_each_other() -> None:
    assert IBUG_68.shape == (68,)
    assert len(set(IBUG_68.tolist())) == 68
    assert (MIRROR[IBUG_68] == IBUG_68[_MIRROR_68]).all()


def test_brows_are_ten_points() -> None:
    assert len(IBUG_68[BROWS_68]) == 10


@pytest.mark.parametrize("ring", [INNER_LIPS, OUTER_LIPS, LID_LEFT, LID_RIGHT])
def test_contours_have_no_point_twice(ring: tuple[int, ...]) -> None:
    assert len(set(ring)) == len(ring)


def test_lids_mirror_onto_each_other() -> None:
    assert tuple(MIRROR[list(LID_LEFT)]) == LID_RIGHT


def test_rigid_points_are_mirror_symmetric() -> None:
    assert set(MIRROR[RIGID].tolist()) == set(RIGID.tolist())


def test_upper_lids_lie_above_the_lower_ones(landmark_model: LandmarkModel) -> None:
    points = landmark_model.mean_68.numpy()
    assert (points[list(UPPER_LIDS_68), 1] < points[list(LOWER_LIDS_68), 1]).all()


def test_mirroring_landmarks_twice_gives_them_back() -> None:
    landmarks = np.random.default_rng(0).normal(size=(2, 478, 3))
    np.testing.assert_allclose(mirror_landmarks(mirror_landmarks(landmarks, 256), 256), landmarks, atol=1e-12)
