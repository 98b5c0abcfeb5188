"""The worker that runs an engine session, step by step in one thread: places, drops, generations, errors."""

import threading
from typing import Any

import numpy as np
import pytest

from server.live.block import Block
from server.live.frame import LiveFrame
from server.live.worker import EngineWorker
from tests.fake_engine import FakeSession
from tests.steerable_clock import SteerableClock

BLOCK = 960
FRAME = 1920


def _worker(session: FakeSession, **options: Any) -> tuple[EngineWorker, list[LiveFrame], list[BaseException | None]]:
    frames: list[LiveFrame] = []
    ended: list[BaseException | None] = []
    worker = EngineWorker(
        session, SteerableClock(), on_frame=frames.append, on_ended=ended.append, name="test", **options
    )
    return worker, frames, ended


def _block(place: int, generation: int = 0, samples: int = BLOCK) -> Block:
    return Block(place, np.zeros(samples, np.int16), generation)


def _run(worker: EngineWorker) -> None:
    while worker.step():
        pass


def test_frames_lie_where_their_voice_lies_across_a_gap() -> None:
    """Those that were waited for when the gap came still belong before it."""
    worker, frames, _ = _worker(FakeSession(object(), 0.0))
    for place in (*range(0, 10 * BLOCK, BLOCK), *range(100 * BLOCK, 110 * BLOCK, BLOCK)):
        worker.put([_block(place)])
        _run(worker)
    places = [frame.place for frame in frames]
    assert places == [*range(0, 5 * FRAME, FRAME), *range(100 * BLOCK, 100 * BLOCK + 3 * FRAME, FRAME)]


@pytest.mark.parametrize("samples", [BLOCK, 240, 7200])
def test_any_size_of_block_gives_the_same_frames(samples: int) -> None:
    worker, frames, _ = _worker(FakeSession(object(), 0.0))
    for place in range(0, 28_800, samples):
        worker.put([_block(place, samples=samples)])
        _run(worker)
    assert [frame.place for frame in frames] == [FRAME * number for number in range(13)]


def test_places_count_samples_of_the_voices_own_rate() -> None:
    worker, frames, _ = _worker(FakeSession(object(), 0.0), rate_hz=16_000)
    worker.put([Block(5000, np.zeros(3200, np.int16))])
    _run(worker)
    assert [frame.place for frame in frames] == [5000, 5640, 6280]


def test_a_voice_at_16_khz_is_heard_as_it_came() -> None:
    session = FakeSession(object(), 0.0)
    worker, frames, _ = _worker(session)
    wave = np.full(10 * BLOCK, -30_000, np.int16)
    wave[::3] = 100
    for place in range(0, 10 * BLOCK, BLOCK):
        worker.put([Block(place, wave[place : place + BLOCK], every=3)])
    _run(worker)
    assert session.loud_samples == 0, "what the way up to 48 kHz put between is not heard"
    assert [frame.place for frame in frames] == [0, FRAME, 2 * FRAME]


def test_past_what_may_wait_the_oldest_voice_is_left_out() -> None:
    worker, frames, _ = _worker(FakeSession(object(), 0.0), max_waiting_ms=200)
    worker.put([_block(index * BLOCK) for index in range(30)])
    assert worker.skipped_ms == 400
    _run(worker)
    assert [frame.place for frame in frames] == [20 * BLOCK + FRAME * number for number in range(3)]


def test_an_interrupt_drops_what_waits_and_fills_up_at_once() -> None:
    session = FakeSession(object(), 0.0)
    worker, frames, _ = _worker(session)
    worker.put([_block(index * BLOCK) for index in range(8)])
    _run(worker)
    worker.put([_block(8 * BLOCK), _block(9 * BLOCK)])
    worker.interrupt(1, [_block(place, generation=1) for place in range(5 * BLOCK, 13 * BLOCK, BLOCK)])
    worker.put([_block(13 * BLOCK)])  # was on its way, and is of the old generation
    _run(worker)
    assert (session.interrupts, session.generation) == (1, 1)
    assert [(frame.place, frame.generation) for frame in frames] == [
        (0, 0),
        (FRAME, 0),
        (5 * BLOCK, 1),
        (5 * BLOCK + FRAME, 1),
    ]


def test_of_two_interrupts_the_last_one_counts() -> None:
    session = FakeSession(object(), 0.0)
    worker, frames, _ = _worker(session)
    for generation in (1, 2):
        refill = [_block(place, generation) for place in range(0, 6 * BLOCK, BLOCK)]
        worker.interrupt(generation, refill)
    _run(worker)
    assert session.generation == 2
    assert [frame.generation for frame in frames] == [2]


def test_commands_come_before_the_voice_that_waits() -> None:
    session = FakeSession(object(), 0.0)
    worker, _, _ = _worker(session)
    worker.put([_block(0)])
    worker.command(lambda each: each.set_intensity(0.5))
    assert not worker.idle
    assert worker.step()
    assert session.intensity == 0.5
    assert len(session.wave) == 0
    _run(worker)
    assert worker.idle


def test_a_fault_is_told_once_and_the_session_is_closed() -> None:
    session = FakeSession(object(), 0.0)
    session.fail = True
    worker, _, ended = _worker(session)
    worker.put([_block(0), _block(BLOCK)])
    worker.start()
    worker.join(5)
    assert [str(error) for error in ended] == ["the fake engine was told to fail"]
    assert session.closed
    assert threading.get_ident() not in session.threads


def test_who_stops_a_worker_is_told_of_its_end() -> None:
    session = FakeSession(object(), 0.0)
    worker, _, ended = _worker(session)
    worker.start()
    worker.stop()
    worker.join(5)
    assert ended == [None]
    assert session.closed
