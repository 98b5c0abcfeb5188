"""Audio of any rate and cut becomes whole blocks, at the viewers' rate and, where it came so, at the engine's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import AudioInvalid
from server.live.audio_source import AudioSource, VoiceResampler
from server.live.block import BLOCK_SAMPLES
from server.live.jitter_buffer import JitterBuffer, Voice


def _taken(jitter_buffer: JitterBuffer) -> list[Voice]:
    taken = []
    while (voice := jitter_buffer.take()) is not None:
        taken.append(voice)
    return taken


def _clicks(rate_hz: int, seconds: float) -> npt.NDArray[np.int16]:
    """A short loud tone every 100 ms."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = 20_000 * np.sin(2 * np.pi * 1000 * time_s) * (time_s % 0.1 < 0.005)
    return tone.astype(np.int16)


@given(st.lists(st.integers(0, 4000), max_size=20))
def test_any_chunking_gives_the_same_audio(sizes: list[int]) -> None:
    wave = np.arange(sum(sizes), dtype=np.int64).astype(np.int16) | 1
    jitter_buffer, start = JitterBuffer(), 0
    source = AudioSource(jitter_buffer, live=False)
    for size in sizes:
        source.push_pcm(wave[start : start + size], 48_000)
        start += size
    whole = len(wave) // BLOCK_SAMPLES
    assert len(jitter_buffer) == whole
    heard = [voice.samples for voice in _taken(jitter_buffer)]
    assert np.array_equal(np.concatenate([wave[:0], *heard]), wave[: whole * BLOCK_SAMPLES])


def test_audio_at_16_khz_is_kept_beside_what_viewers_hear() -> None:
    wave, jitter_buffer = _clicks(16_000, 1.0), JitterBuffer()
    source = AudioSource(jitter_buffer, live=False)
    for piece in np.array_split(wave, 37):
        source.push_pcm(piece, 16_000)
    taken = _taken(jitter_buffer)
    assert len(taken) >= 48
    narrow = [voice.narrow for voice in taken if voice.narrow is not None]
    assert np.array_equal(np.concatenate(narrow), wave[: 320 * len(taken)])
    heard = np.concatenate([voice.samples for voice in taken]).astype(float)
    expected = _clicks(48_000, 1.0)[: len(heard)].astype(float)
    shifts = range(-30, 31)
    best = max(shifts, key=lambda shift: float(np.dot(np.roll(heard, shift), expected)))
    assert abs(best) <= 3, "both are of the same moments"


def test_after_a_change_of_rate_the_pieces_of_a_block_begin_together() -> None:
    jitter_buffer = JitterBuffer()
    source = AudioSource(jitter_buffer, live=False)
    source.push_pcm(np.full(1000, 9000, np.int16), 48_000)
    source.push_pcm(np.full(1000, 9000, np.int16), 16_000)
    source.push_pcm(np.full(2000, 9000, np.int16), 48_000)
    kinds = [voice.narrow is not None for voice in _taken(jitter_buffer)]
    assert kinds == [False, True, True, True, False, False]


def test_who_opens_a_source_last_is_heard() -> None:
    jitter_buffer = JitterBuffer()
    first = AudioSource(jitter_buffer, live=True)
    first.push_pcm(np.ones(BLOCK_SAMPLES, np.int16), 48_000)
    first.close()
    AudioSource(jitter_buffer, live=True).push_pcm(np.full(BLOCK_SAMPLES, 2, np.int16), 48_000)
    first.push_pcm(np.ones(BLOCK_SAMPLES, np.int16), 48_000)
    assert [int(voice.samples[0]) for voice in _taken(jitter_buffer)] == [2]


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
