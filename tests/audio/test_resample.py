import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.audio import StreamingResampler
from engine.errors import AudioInvalid

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 44099, 48000, 96000, 192000]
Float32 = NDArray[np.float32]


def _noise(samples: int) -> Float32:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


def _tone(hz: float, rate: int, samples: int) -> Float32:
    return np.sin(2 * np.pi * hz * np.arange(samples) / rate).astype(np.float32)


def _whole(rate: int, wave: Float32) -> Float32:
    resampler = StreamingResampler(rate)
    return np.concatenate([resampler.push(wave), resampler.flush()])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 3000), max_size=8))
def test_any_chunking_is_bit_equal_and_complete(rate: int, sizes: list[int]) -> None:
    wave = _noise(sum(sizes))
    resampler = StreamingResampler(rate)
    parts, at = [], 0
    for size in sizes:
        parts.append(resampler.push(wave[at : at + size]))
        at += size
        behind = at * 16000 / rate - sum(map(len, parts))
        assert behind <= resampler.latency_samples + 1e-6
    parts.append(resampler.flush())
    joined = np.concatenate(parts)
    assert len(joined) == round(at * 16000 / rate)
    np.testing.assert_array_equal(joined, _whole(rate, wave))


@pytest.mark.parametrize("rate", RATES)
def test_tone_comes_out_in_time_and_unchanged(rate: int) -> None:
    out = _whole(rate, _tone(1000, rate, rate // 4))
    error = (out - _tone(1000, 16000, len(out)))[200:-200]
    assert np.abs(error).max() < 1e-3


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_tones_above_the_band_do_not_fold_back(rate: int) -> None:
    for hz in (8600, 10000, 12000, 20000):
        out = _whole(rate, _tone(hz, rate, rate // 4))
        assert np.sqrt(np.mean(out[200:-200] ** 2)) < 10 ** (-65 / 20)


def test_agrees_with_soxr() -> None:
    rate = 44100
    wave = soxr.resample(_noise(4000), 8000, rate, "VHQ").astype(np.float32)
    ours, theirs = _whole(rate, wave), soxr.resample(wave, rate, 16000, "VHQ")
    np.testing.assert_allclose(ours[200:-200], theirs[200:-200], atol=1e-4)


def test_latency_is_small_and_16k_untouched() -> None:
    for rate in RATES:
        assert StreamingResampler(rate).latency_samples <= 34
    wave = _noise(1234)
    same = StreamingResampler(16000)
    assert same.latency_samples == 0
    np.testing.assert_array_equal(same.push(wave), wave)
    assert len(same.flush()) == 0


def test_flush_makes_it_new() -> None:
    resampler = StreamingResampler(48000)
    first = np.concatenate([resampler.push(_noise(5000)), resampler.flush()])
    again = np.concatenate([resampler.push(_noise(5000)), resampler.flush()])
    np.testing.assert_array_equal(first, again)


def test_empty_stream() -> None:
    assert len(_whole(44100, np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize("rate", [0, -1, 7999, 192001, 44100.5])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    with pytest.raises(AudioInvalid, match="8000 to 192000"):
        StreamingResampler(rate)  # type: ignore[arg-type]


def test_wrong_chunks_are_refused() -> None:
    with pytest.raises(AudioInvalid, match="mono float32"):
        StreamingResampler(8000).push(np.zeros((2, 2), np.float32))
    with pytest.raises(AudioInvalid, match="mono float32"):
        StreamingResampler(8000).push(np.zeros(2, np.int16))  # type: ignore[arg-type]
