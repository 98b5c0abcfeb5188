"""Which mel columns a frame listens to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.motion.networks.prosody import (
    gather_columns,
    lip_window,
    prosody_columns,
    prosody_condition,
    released_lip_window,
    released_prosody_columns,
)

MEL = np.random.default_rng(0).standard_normal((80, 40)).astype(np.float32)


@given(st.integers(0, 90_000), st.integers(0, 200), st.integers(1, 24))
def test_lip_window_ends_at_the_newest_column_within_the_lookahead(frame: int, lookahead: int, width: int) -> None:
    start, stop = lip_window(frame, lookahead, width)
    assert stop - start == width
    last = stop - 1
    assert 12.5 * last + 25 <= 40 * frame + lookahead < 12.5 * (last + 1) + 25


def test_lip_window_of_the_default_lookahead() -> None:
    assert [lip_window(frame) for frame in (0, 1, 5)] == [(-11, 5), (-8, 8), (5, 21)]


@given(st.integers(0, 90_000), st.integers(0, 5))
def test_prosody_is_four_columns_of_the_frames_own_time_less_the_delay(frame: int, delay: int) -> None:
    start, stop = prosody_columns(frame, delay)
    assert stop - start == 4
    assert start == int(np.floor(3.2 * (frame - delay) + 1e-9))


def test_prosody_of_a_hop_needs_no_more_lookahead_than_its_first_frames_lips() -> None:
    for first in range(0, 3000, 3):
        assert prosody_columns(first + 2)[1] <= lip_window(first)[1]


def test_the_releases_windows() -> None:
    assert released_lip_window(10, 100).tolist() == list(range(25, 41))
    assert released_lip_window(0, 100).tolist() == [0] * 6 + list(range(10))
    assert released_lip_window(30, 100).tolist() == [*range(89, 100), *[99] * 5]
    assert released_prosody_columns(7) == (28, 32)


@pytest.mark.parametrize(("start", "stop"), [(-5, 3), (3, 9), (37, 45), (-9, -2), (41, 44), (-3, 50)])
def test_columns_outside_the_audio_are_silence(start: int, stop: int) -> None:
    cut = gather_columns(MEL, start, stop)
    assert cut.shape == (80, stop - start)
    assert cut.dtype == np.float32
    for place, column in enumerate(range(start, stop)):
        expected = MEL[:, column] if 0 <= column < MEL.shape[1] else np.full(80, -4.0)
        assert np.array_equal(cut[:, place], expected)


def test_condition_lists_each_columns_bands_in_turn() -> None:
    columns = gather_columns(MEL, 8, 12)
    condition = prosody_condition(columns)
    assert condition.shape == (320,)
    assert np.array_equal(condition[80:160], MEL[:, 9])
