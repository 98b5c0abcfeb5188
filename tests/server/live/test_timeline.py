"""The media clock, by hand: no time passes here but what the tests say."""

import numpy as np

from server.live.block import BLOCK_S, BLOCK_SAMPLES, Block
from server.live.jitter_buffer import JitterBuffer
from server.live.timeline import MediaTimeline

LOUD = np.full(BLOCK_SAMPLES, 9000, np.int16)


def _timeline(delay_blocks: int = 5) -> tuple[MediaTimeline, JitterBuffer]:
    jitter_buffer = JitterBuffer()
    return MediaTimeline(100.0, jitter_buffer, delay_blocks), jitter_buffer


def _indices(blocks: list[Block]) -> list[int]:
    return [block.place // BLOCK_SAMPLES for block in blocks]


def test_blocks_come_by_the_clock() -> None:
    timeline, _ = _timeline()
    assert timeline.advance(100.019) == []
    assert _indices(timeline.advance(100.0201)) == [0]
    assert _indices(timeline.advance(100.0201 + 3 * BLOCK_S)) == [1, 2, 3]


def test_audio_leaves_after_the_delay_and_silence_fills_the_rest() -> None:
    timeline, jitter_buffer = _timeline(delay_blocks=5)
    jitter_buffer.push(LOUD)
    timeline.advance(100.0 + 2.5 * BLOCK_S)
    timeline.advance(100.0 + 9.5 * BLOCK_S)
    out = [timeline.outgoing_audio(index) for index in range(9)]
    assert [block is not None and block.voiced for block in out] == [False] * 5 + [True] + [False] * 3


def test_audio_and_frame_of_one_moment_leave_together() -> None:
    timeline, jitter_buffer = _timeline(delay_blocks=7)
    for _ in range(20):
        jitter_buffer.push(LOUD)
    timeline.advance(100.0 + 20.5 * BLOCK_S)
    block = timeline.outgoing_audio(7 + 4)
    assert block is not None
    assert block.place == 4 * BLOCK_SAMPLES
    assert np.isclose(timeline.outgoing_due_s(7 + 4), timeline.departure_s(4 * BLOCK_SAMPLES))
    assert timeline.outgoing_sample(4 * BLOCK_SAMPLES) == 11 * BLOCK_SAMPLES


def test_late_frames_lengthen_the_delay_in_a_pause() -> None:
    timeline, _ = _timeline(delay_blocks=5)
    timeline.advance(101.0)
    late = timeline.departure_s(0) + 0.03
    assert timeline.note_frame_ready(0, late) < 0
    timeline.outgoing_audio(6)
    assert timeline.delay_blocks == 6


def test_speech_is_not_cut_to_lengthen_the_delay_at_once() -> None:
    timeline, jitter_buffer = _timeline(delay_blocks=5)
    for _ in range(60):
        jitter_buffer.push(LOUD)
    timeline.advance(100.0 + 60.5 * BLOCK_S)
    timeline.note_frame_ready(0, timeline.departure_s(0) + 0.03)
    for index in range(5, 40):
        assert timeline.outgoing_audio(index) is not None
    assert timeline.delay_blocks == 5


def test_early_frames_shorten_the_delay_slowly() -> None:
    timeline, _ = _timeline(delay_blocks=10)
    timeline.advance(110.0)
    index = 10
    for _ in range(2 * 50):
        timeline.note_frame_ready(0, timeline.departure_s(0) - 0.1)
        index += 1
        timeline.outgoing_audio(index)
    assert timeline.delay_blocks == 9


def test_a_delay_grown_in_a_bad_moment_goes_in_the_next_pause() -> None:
    timeline, _ = _timeline(delay_blocks=18)
    timeline.advance(110.0)
    ready_s = timeline.departure_s(0) - 0.3
    for index in range(20, 240):
        timeline.note_frame_ready(0, ready_s)
        timeline.outgoing_audio(index)
    slack_s = timeline.departure_s(0) - ready_s
    assert timeline.delay_blocks < 8
    assert 0.004 < slack_s < 0.05, "what is left covers the frames with a little to spare"


def test_speech_is_never_cut_to_shorten_the_delay() -> None:
    timeline, jitter_buffer = _timeline(delay_blocks=10)
    for _ in range(400):
        jitter_buffer.push(LOUD)
    heard = []
    for index in range(400):
        timeline.advance(100.0 + (index + 0.5) * BLOCK_S)
        timeline.note_frame_ready(0, timeline.departure_s(0) - 0.1)
        block = timeline.outgoing_audio(index)
        heard += [] if block is None else _indices([block])
    assert heard == list(range(len(heard)))
    assert len(heard) == 390


def test_interrupt_makes_everything_before_it_silent() -> None:
    timeline, jitter_buffer = _timeline(delay_blocks=8)
    for _ in range(30):
        jitter_buffer.push(LOUD)
    now_s = 100.0 + 20.5 * BLOCK_S
    timeline.advance(now_s)
    refill = timeline.interrupt(now_s)
    assert timeline.generation == 1
    assert len(jitter_buffer) == 0
    assert _indices(refill) == list(range(13, 20))
    assert all(block.generation == 1 and not block.samples.any() for block in refill)
    assert all(timeline.outgoing_audio(index) is None for index in range(21, 28))
    jitter_buffer.push(LOUD)
    timeline.advance(now_s + BLOCK_S)
    block = timeline.outgoing_audio(20 + 8)
    assert block is not None
    assert block.generation == 1


def test_frames_asked_for_in_the_last_moment_do_not_lengthen_the_delay() -> None:
    timeline, _ = _timeline(delay_blocks=8)
    now_s = 100.0 + 20.5 * BLOCK_S
    timeline.advance(now_s)
    first, *_ = timeline.interrupt(now_s)
    assert 0 <= timeline.departure_s(first.place) - now_s <= BLOCK_S
    assert timeline.note_frame_ready(first.place, now_s + 0.05) == 0
    timeline.outgoing_audio(25)
    assert timeline.delay_blocks == 8


def test_a_machine_that_slept_goes_on_where_it_stopped() -> None:
    timeline, jitter_buffer = _timeline(delay_blocks=5)
    jitter_buffer.push(LOUD)
    assert _indices(timeline.advance(100.0 + 3.5 * BLOCK_S)) == [0, 1, 2]
    assert timeline.advance(100.0 + 3600.0) == []
    assert _indices(timeline.advance(100.0 + 3600.0 + 10.5 * BLOCK_S)) == [*range(3, 13)]
    audio = [timeline.outgoing_audio(index) for index in range(12)]
    assert [index for index, block in enumerate(audio) if block is not None and block.voiced] == [5]
    assert abs(timeline.outgoing_due_s(3) - (100.0 + 3600.0)) <= BLOCK_S


def test_no_drift_in_an_hour() -> None:
    timeline, _ = _timeline(delay_blocks=7)
    blocks = 0
    for second in range(1, 3601):
        blocks += len(timeline.advance(100.0 + second))
    assert blocks == 3600 * 50
    assert abs(timeline.departure_s(blocks * BLOCK_SAMPLES) - (100.0 + 3600 + 7 * BLOCK_S)) < 1e-6


def test_silence_has_the_rate_of_the_voice_around_it() -> None:
    timeline, jitter_buffer = _timeline()
    assert [block.every for block in timeline.advance(100.0 + 1.5 * BLOCK_S)] == [1]
    jitter_buffer.every = 3
    jitter_buffer.push(LOUD)
    assert [block.every for block in timeline.advance(100.0 + 3.5 * BLOCK_S)] == [3, 3]
