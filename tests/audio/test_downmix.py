"""Many channels to one: nothing is lost that one of them has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.audio.downmix import StreamingDownmix
from engine.timebase import SAMPLE_RATE_HZ

Float32 = NDArray[np.float32]


def test_like_channels_give_their_mean_bit_for_bit(voice: Float32) -> None:
    stereo = np.stack([voice, 0.5 * voice], 1)
    assert np.array_equal(StreamingDownmix().push(stereo, SAMPLE_RATE_HZ), stereo.mean(1, dtype=np.float32))


@pytest.mark.parametrize("delay", [0, 5])
def test_opposite_channels_give_one_of_them(voice: Float32, delay: int) -> None:
    stereo = np.stack([voice, -np.roll(voice, delay)], 1)
    mixed = StreamingDownmix().push(stereo, SAMPLE_RATE_HZ)
    assert np.array_equal(mixed[SAMPLE_RATE_HZ:], voice[SAMPLE_RATE_HZ:]) or np.array_equal(
        mixed[SAMPLE_RATE_HZ:], stereo[SAMPLE_RATE_HZ:, 1]
    )


def test_a_voice_in_one_channel_of_eight_is_not_an_eighth(voice: Float32) -> None:
    channels = np.zeros((len(voice), 8), np.float32)
    channels[:, 3] = voice
    mixed = StreamingDownmix().push(channels, SAMPLE_RATE_HZ)
    assert np.array_equal(mixed[SAMPLE_RATE_HZ:], voice[SAMPLE_RATE_HZ:])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_it_is_the_same_however_it_is_cut(voice: Float32, lengths: list[int]) -> None:
    stereo = np.stack([voice, -voice], 1)[:SAMPLE_RATE_HZ]
    whole, mix = StreamingDownmix().push(stereo, SAMPLE_RATE_HZ), StreamingDownmix()
    parts = [mix.push(part, SAMPLE_RATE_HZ) for part in np.split(stereo, np.minimum(np.cumsum(lengths), len(stereo)))]
    assert np.array_equal(np.concatenate(parts), whole)
