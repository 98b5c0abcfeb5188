"""Audio of any rate becomes 48 kHz, and at 16 kHz it is still there as it came."""

import numpy as np
import numpy.typing as npt
import pytest

from engine.errors import AudioInvalid
from server.live.audio_source import AudioSource, VoiceResampler
from server.live.block import BLOCK_SAMPLES
from server.live.jitter_buffer import JitterBuffer


def _clicks(rate_hz: int, seconds: float) -> npt.NDArray[np.int16]:
    """A short loud tone every 100 ms."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = 20_000 * np.sin(2 * np.pi * 1000 * time_s) * (time_s % 0.1 < 0.005)
    return tone.astype(np.int16)


def test_audio_at_16_khz_can_be_taken_back_as_it_came() -> None:
    noise = np.random.default_rng(0).normal(0, 6000, 16_000).clip(-32_768, 32_767).astype(np.int16)
    resampler = VoiceResampler()
    out = np.concatenate([resampler.push(piece, 16_000) for piece in np.array_split(noise, 37)])
    assert resampler.every == 3
    assert len(out) > 47_000
    assert np.array_equal(out[::3], noise[: len(out[::3])])


def test_only_a_voice_that_was_always_at_16_khz_can_be_taken_back() -> None:
    resampler = VoiceResampler()
    kinds = []
    for rate_hz in (16_000, 16_000, 48_000, 16_000):
        resampler.push(_clicks(rate_hz, 0.1), rate_hz)
        kinds.append(resampler.every)
        resampler.flush()
    assert kinds == [3, 3, 1, 1]


def test_who_opens_a_source_last_is_heard() -> None:
    jitter_buffer = JitterBuffer()
    first = AudioSource(jitter_buffer, live=True)
    first.push_pcm(np.ones(BLOCK_SAMPLES, np.int16), 48_000)
    first.close()
    AudioSource(jitter_buffer, live=True).push_pcm(np.full(320, 2, np.int16), 16_000)
    assert jitter_buffer.every == 3
    AudioSource(jitter_buffer, live=True).push_pcm(np.full(BLOCK_SAMPLES, 3, np.int16), 48_000)
    first.push_pcm(np.ones(BLOCK_SAMPLES, np.int16), 48_000)
    taken = jitter_buffer.take()
    assert taken is not None
    assert (int(taken[0]), jitter_buffer.every, jitter_buffer.take()) == (3, 1, None)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100])
def test_any_rate_and_stereo_keep_their_length(rate_hz: int) -> None:
    resampler = VoiceResampler()
    wave = np.stack([_clicks(rate_hz, 1.0)] * 2, axis=1)
    pieces = [resampler.push(piece, rate_hz) for piece in np.array_split(wave, 7)]
    assert sum(map(len, pieces)) + len(resampler.flush()) == pytest.approx(48_000, abs=100)


def test_audio_that_cannot_be_used_is_refused() -> None:
    resampler = VoiceResampler()
    wave = _clicks(48_000, 0.1)
    for samples, rate_hz in ((wave.astype(np.float32), 48_000), (wave, 100), (wave[None, None], 8_000)):
        with pytest.raises(AudioInvalid):
            resampler.push(samples, rate_hz)
