"""The gain for what is analysed: none for a usual voice, much for a quiet one, none for noise; no delay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.audio import speech_level
from engine.audio.level import AutomaticGain
from engine.timebase import SAMPLE_RATE_HZ

Float32 = NDArray[np.float32]


def _quieter(wave: Float32, db: float) -> Float32:
    return (wave * 10 ** (db / 20)).astype(np.float32)


def _power_db(wave: Float32) -> float:
    return 10 * float(np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-12))


def test_a_voice_of_usual_level_passes_bit_for_bit(voice: Float32) -> None:
    for db in (0.0, -7.0, -14.0):
        wave = _quieter(voice, db)
        assert np.array_equal(AutomaticGain().push(wave), wave)


@pytest.mark.parametrize("db", [-30.0, -40.0, -50.0])
def test_a_quiet_voice_is_as_loud_as_a_usual_one(voice: Float32, db: float) -> None:
    quiet = _quieter(voice, db)
    level = speech_level([(quiet, SAMPLE_RATE_HZ)])
    assert level is not None
    for gain, start in ((AutomaticGain(), 4 * SAMPLE_RATE_HZ), (AutomaticGain(level), 0)):
        found = gain.push(quiet)[start:]
        assert abs(_power_db(found) - _power_db(voice[start:])) < 8
        assert np.abs(found).max() <= 1.0


@pytest.mark.parametrize("dbfs", [-70.0, -50.0, -30.0])
def test_noise_and_hum_are_no_voice(dbfs: float) -> None:
    time_s = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    for wave in (noise, np.sqrt(2) * np.sin(2 * np.pi * 100 * time_s), np.zeros_like(time_s)):
        quiet = _quieter(wave.astype(np.float32), dbfs)
        assert speech_level([(quiet, SAMPLE_RATE_HZ)]) is None
        assert np.array_equal(AutomaticGain().push(quiet), quiet.clip(-1, 1))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=40))
def test_it_is_the_same_however_the_voice_is_cut(voice: Float32, lengths: list[int]) -> None:
    quiet = _quieter(voice[: 2 * SAMPLE_RATE_HZ], -40.0)
    whole, gain = AutomaticGain().push(quiet), AutomaticGain()
    places = np.minimum(np.cumsum(lengths), len(quiet))
    parts = [gain.push(part) for part in np.split(quiet, places)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_later_sound_changes_nothing_that_came_before(voice: Float32) -> None:
    quiet = _quieter(voice[: 2 * SAMPLE_RATE_HZ], -40.0)
    louder = quiet.copy()
    louder[SAMPLE_RATE_HZ:] *= 30
    before, after = AutomaticGain().push(quiet), AutomaticGain().push(louder)
    assert np.array_equal(before[:SAMPLE_RATE_HZ], after[:SAMPLE_RATE_HZ])
