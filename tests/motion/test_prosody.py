"""Which mel columns a frame listens to."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.audio import MEL_SILENCE
from engine.motion.networks.prosody import lip_window, mel_windows, prosody_columns

MEL = torch.from_numpy(np.random.default_rng(0).standard_normal((80, 40)).astype(np.float32))


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


def test_many_frames_are_answered_as_each_alone() -> None:
    frames = torch.arange(-3, 200)
    for window in (lip_window, prosody_columns):
        starts, stops = window(frames)
        assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == [window(frame) for frame in frames.tolist()]


def test_columns_outside_the_audio_are_silence() -> None:
    starts = torch.tensor([-5, 3, 37, -9, 41, -3])
    windows = mel_windows(MEL, starts, 8)
    assert windows.shape == (6, 80, 8)
    for start, window in zip(starts.tolist(), windows, strict=True):
        for place, column in enumerate(range(start, start + 8)):
            expected = MEL[:, column] if 0 <= column < MEL.shape[1] else torch.full((80,), MEL_SILENCE)
            assert torch.equal(window[:, place], expected)
