"""The voice's waiting room: nothing lost while somebody speaks, no delay kept in pauses."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from server.live.block import BLOCK_SAMPLES
from server.live.jitter_buffer import JitterBuffer, is_quiet


def _speech(blocks: int, level: int = 8000) -> npt.NDArray[np.int16]:
    wave = np.random.default_rng(0).normal(0, level, blocks * BLOCK_SAMPLES)
    return wave.clip(-32768, 32767).astype(np.int16)


def _pause(blocks: int) -> npt.NDArray[np.int16]:
    return np.zeros(blocks * BLOCK_SAMPLES, np.int16)


@given(st.lists(st.integers(0, 4000), max_size=20))
def test_any_chunking_gives_the_same_audio(sizes: list[int]) -> None:
    wave = np.arange(sum(sizes), dtype=np.int64).astype(np.int16) | 1
    jitter_buffer, start = JitterBuffer(), 0
    for size in sizes:
        jitter_buffer.push(wave[start : start + size])
        start += size
    whole = len(wave) // BLOCK_SAMPLES
    assert len(jitter_buffer) == whole
    jitter_buffer.keeps_pauses = True
    taken = [block for _ in range(whole) if (block := jitter_buffer.take()) is not None]
    assert np.array_equal(np.concatenate([_pause(0), *taken]), wave[: whole * BLOCK_SAMPLES])


def test_silence_when_nothing_comes() -> None:
    jitter_buffer = JitterBuffer()
    assert jitter_buffer.take() is None
    jitter_buffer.push(_speech(1))
    assert jitter_buffer.take() is not None
    assert jitter_buffer.take() is None


def test_speech_is_never_shortened() -> None:
    jitter_buffer = JitterBuffer()
    jitter_buffer.push(_speech(100))
    taken = [jitter_buffer.take() for _ in range(100)]
    assert all(block is not None for block in taken)
    assert jitter_buffer.dropped_quiet_blocks == jitter_buffer.dropped_overflow_blocks == 0


def test_a_backlog_shrinks_in_pauses() -> None:
    jitter_buffer = JitterBuffer()
    jitter_buffer.push(np.concatenate([_speech(20), _pause(40), _speech(20)]))
    takes = 0
    while jitter_buffer.take() is not None:
        takes += 1
    assert jitter_buffer.dropped_quiet_blocks >= 15
    assert takes == 80 - jitter_buffer.dropped_quiet_blocks


def test_a_backlog_has_an_end() -> None:
    jitter_buffer = JitterBuffer(max_blocks=50)
    jitter_buffer.push(_speech(80))
    assert len(jitter_buffer) == 50
    assert jitter_buffer.dropped_overflow_blocks == 30


def test_running_dry_in_mid_speech_asks_for_more_reserve() -> None:
    jitter_buffer = JitterBuffer()
    for _ in range(10):
        jitter_buffer.push(_speech(1))
        assert jitter_buffer.take() is not None
    assert jitter_buffer.take() is None
    jitter_buffer.push(_speech(1))
    assert jitter_buffer.take() is not None
    assert jitter_buffer.underflows == 1
    assert jitter_buffer.target_blocks == 2


def test_a_long_pause_does_not_count_as_running_dry() -> None:
    jitter_buffer = JitterBuffer()
    jitter_buffer.push(_speech(5))
    for _ in range(100):
        jitter_buffer.take()
    jitter_buffer.push(_speech(5))
    jitter_buffer.take()
    assert jitter_buffer.target_blocks == 1


def test_clear_forgets_what_waits() -> None:
    jitter_buffer = JitterBuffer()
    jitter_buffer.push(_speech(5)[:-10])
    jitter_buffer.clear()
    jitter_buffer.push(_speech(1)[:20])
    assert len(jitter_buffer) == 0
    assert jitter_buffer.take() is None


def test_quiet_is_relative_to_the_noise_of_the_room() -> None:
    assert is_quiet(_pause(1))
    assert is_quiet(_speech(1, level=60))
    assert not is_quiet(_speech(1))
    assert is_quiet(_speech(1, level=500), floor_rms=450.0)
