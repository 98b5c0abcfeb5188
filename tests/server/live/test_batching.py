"""Which frames are made together, and when: simulated devices, sessions and clocks."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.renderer import BUCKETS
from server.live.batching import FRAME_S, Batcher, BatchTimes, sessions_that_fit

_TIMES = {1: 0.002, 2: 0.0025, 4: 0.003, 8: 0.004, 16: 0.006}


def _batcher(*sessions: str, times: dict[int, float] | None = None, patience_s: float = 0.002) -> Batcher:
    batcher: Batcher = Batcher(BatchTimes(times or _TIMES), patience_s=patience_s, margin_s=0.0)
    for session in sessions:
        batcher.join(session)
    return batcher


@dataclass(eq=False)
class _Job:
    """What a batcher looks at of a `FrameJob`, and a number to know it by."""

    row: Any
    number: int
    due_s: float
    came_s: float = 0.0
    shown: bool = True


def _put(batcher: Batcher, session: str, number: int, *, due_s: float, now_s: float) -> bool:
    return batcher.put(_Job(session, number, due_s), now_s)  # type: ignore[arg-type]


def _taken(batch: list[Any]) -> list[tuple[str, int]]:
    return [(job.row, job.number) for job in batch]


def test_an_idle_device_waits_a_little_and_never_past_a_slot() -> None:
    batcher = _batcher("a", "b", "c", patience_s=0.02)
    _put(batcher, "a", 1, due_s=0.030, now_s=0.0)
    assert batcher.closes_s() == 0.02
    assert batcher.take(0.010) == []
    _put(batcher, "b", 1, due_s=0.015, now_s=0.010)
    assert batcher.closes_s() == pytest.approx(0.015 - _TIMES[4])
    assert batcher.take(0.0119) == []
    assert _taken(batcher.take(0.0121)) == [("b", 1), ("a", 1)]
    assert batcher.closes_s() is None


def test_nobody_waits_for_sessions_that_are_not_there() -> None:
    batcher = _batcher("a")
    _put(batcher, "a", 1, due_s=1.0, now_s=0.0)
    assert _taken(batcher.take(0.0)) == [("a", 1)]


def test_a_full_batch_begins_at_once_with_the_earliest() -> None:
    batcher = _batcher(*"abc", times={1: 0.002, 2: 0.003}, patience_s=1.0)
    for number, session in enumerate("abc"):
        _put(batcher, session, number, due_s=1.0 - number / 10, now_s=0.0)
    assert _taken(batcher.take(0.0)) == [("c", 2), ("b", 1)]


def test_a_batch_grows_no_further_than_its_earliest_slot_allows() -> None:
    batcher = _batcher(*"abc", times={1: 0.002, 2: 0.005, 4: 0.009})
    for session, due_s in (("a", 0.006), ("b", 0.5), ("c", 0.5)):
        _put(batcher, session, 0, due_s=due_s, now_s=0.0)
    assert _taken(batcher.take(0.0)) == [("a", 0), ("b", 0)]
    assert _taken(batcher.take(0.005)) == [("c", 0)]


def test_sessions_have_one_frame_in_a_batch_and_keep_their_order() -> None:
    batcher = _batcher("a", "b", patience_s=0.0)
    for work in (1, 2, 3):
        _put(batcher, "a", work, due_s=work * FRAME_S, now_s=0.0)
    _put(batcher, "b", 9, due_s=2.5 * FRAME_S, now_s=0.0)
    order = [_taken(batcher.take(0.0)) for _ in range(3)]
    assert order == [[("a", 1), ("b", 9)], [("a", 2)], [("a", 3)]]


def test_a_late_frame_is_hidden_when_a_newer_one_waits_but_not_for_ever() -> None:
    batcher = _batcher("a", patience_s=0.0)
    for work in range(6):
        _put(batcher, "a", work, due_s=0.0, now_s=1.0)
    assert [batcher.take(1.0)[0].shown for _ in range(6)] == [False, False, False, True, False, True]


def test_interrupts_and_leaving_withdraw_what_waits() -> None:
    batcher = _batcher("a", "b", patience_s=0.0)
    for work in (1, 2):
        _put(batcher, "a", work, due_s=1.0, now_s=0.0)
    _put(batcher, "b", 7, due_s=1.0, now_s=0.0)
    batcher.take(0.0)
    assert _taken(batcher.withdraw("a")) == [("a", 2)]
    assert _put(batcher, "a", 4, due_s=1.0, now_s=0.0)
    assert _taken(batcher.leave("a")) == [("a", 4)]
    assert not _put(batcher, "a", 5, due_s=1.0, now_s=0.0)
    assert len(batcher) == 0


def test_times_follow_what_batches_take_and_never_fall_with_size() -> None:
    times = BatchTimes({1: 0.004, 2: 0.003})
    assert (times.of(1), times.of(2), times.bucket(2)) == (0.004, 0.004, 2)
    for _ in range(100):
        times.note(2, 0.010)
    assert times.of(2) == pytest.approx(0.010, rel=1e-3)
    times = BatchTimes({1: 0.004, 16: 0.008})
    times.note(1, 9.0)
    assert times.of(1) == pytest.approx(0.0048), "one that stalls says little"
    for _ in range(100):
        times.note(16, 0.003)
    assert times.of(1) == times.of(16) == pytest.approx(0.003, rel=1e-3), "though none of one row was made"
    with pytest.raises(ValueError, match="positive"):
        BatchTimes({})


def test_capacity_follows_the_times_of_batches() -> None:
    assert sessions_that_fit(BatchTimes({1: 0.050})) == 0
    assert sessions_that_fit(BatchTimes({1: 0.016})) == 1
    assert sessions_that_fit(BatchTimes({16: 0.005})) == 96
    assert sessions_that_fit(BatchTimes({1: 0.001, 16: 0.005})) == 97


@dataclass(eq=False)
class _Frame(_Job):
    generation: int = 0

    @property
    def session(self) -> int:
        return int(self.row)


@st.composite
def _storms(draw: st.DrawFn, crowd: int) -> list[tuple[float, str, int]]:
    """Sessions come, speak for a while at a phase of their own, are interrupted and go: (when, what, session)."""
    events: list[tuple[float, str, int]] = []
    for session in range(draw(st.integers(1, crowd))):
        start = draw(st.floats(0, 0.3))
        frames = draw(st.integers(1, 8))
        events.append((start, "join", session))
        events += [(start + FRAME_S * number, "frame", session) for number in range(frames)]
        if draw(st.booleans()):
            events.append((start + draw(st.floats(0, 0.3)), "interrupt", session))
        events.append((start + FRAME_S * draw(st.integers(1, 9)), "leave", session))
    return sorted(events, key=lambda event: event[0])


class _Device:
    """Runs batches one after the other in simulated time."""

    def __init__(self, batcher: Batcher, events: list[tuple[float, str, int]], slack_s: float) -> None:
        self.batcher, self.events, self.slack_s = batcher, events, slack_s
        self.now_s = 0.0
        self.generation: dict[int, int] = defaultdict(int)
        self.joined: set[int] = set()
        self.asked: list[_Frame] = []
        self.done: list[tuple[_Frame, float, bool]] = []
        self.stale: list[_Frame] = []

    def run(self) -> None:
        while self.events or len(self.batcher):
            self._hear(self.now_s)
            if batch := self.batcher.take(self.now_s):
                self._check(batch)
                self.now_s += self.batcher.times.of(len(batch))
                self._hear(self.now_s)
                self.done += [(job, self.now_s, job.shown) for job in batch if self._is_current(job)]
                continue
            closes_s = self.batcher.closes_s()
            moments = [self.events[0][0]] if self.events else []
            moments += [] if closes_s is None else [closes_s]
            if not moments:
                assert len(self.batcher) == 0, "frames wait, and nothing will ever happen"
                break
            self.now_s = max(self.now_s, min(moments))

    def _is_current(self, job: _Frame) -> bool:
        return job.session in self.joined and job.generation == self.generation[job.session]

    def _check(self, batch: list[_Frame]) -> None:
        assert 1 <= len(batch) <= self.batcher.times.largest
        assert len({job.session for job in batch}) == len(batch)
        dues = [job.due_s for job in batch]
        assert dues == sorted(dues), "earliest deadline first"
        assert all(map(self._is_current, batch))

    def _hear(self, until_s: float) -> None:
        while self.events and self.events[0][0] <= until_s:
            when_s, what, session = self.events.pop(0)
            if what == "join":
                self.joined.add(session)
                self.batcher.join(session)
            elif what == "frame":
                frame = _Frame(session, len(self.asked), when_s + self.slack_s, generation=self.generation[session])
                if self.batcher.put(frame, when_s):
                    self.asked.append(frame)
            elif what == "interrupt":
                self.generation[session] += 1
                self.stale += self.batcher.withdraw(session)
            else:
                self.joined.discard(session)
                self.stale += self.batcher.leave(session)


@settings(max_examples=40, deadline=None)
@given(events=_storms(crowd=48))
def test_no_frame_is_late_while_the_device_has_room(events: list[tuple[float, str, int]]) -> None:
    """48 sessions are three batches of 6 ms; with one at hand a frame needs 24 ms at worst."""
    batcher: Batcher = Batcher(BatchTimes(_TIMES))
    device = _Device(batcher, events, slack_s=0.027)
    device.run()
    assert all(at_s <= frame.due_s + 1e-9 and shown for frame, at_s, shown in device.done)


@settings(max_examples=40, deadline=None)
@given(events=_storms(crowd=24), slow=st.floats(1.0, 12.0))
def test_whatever_comes_each_frame_is_made_once_or_withdrawn(events: list[tuple[float, str, int]], slow: float) -> None:
    batcher: Batcher = Batcher(BatchTimes({size: slow * value for size, value in _TIMES.items()}))
    device = _Device(batcher, events, slack_s=0.020)
    device.run()
    made = [frame for frame, _, _ in device.done]
    assert len(set(made)) == len(made)
    assert not set(made) & set(device.stale)
    for session in {frame.session for frame in made}:
        mine = [(frame.generation, frame.number) for frame in made if frame.session == session]
        assert mine == sorted(mine), "in order, and no generation after a newer one"


def test_an_overloaded_device_serves_all_alike() -> None:
    """Sixty sessions, four times what fits: nobody starves, and everyone is shown something."""
    sessions, seconds = 60, 2.0
    batcher: Batcher = Batcher(BatchTimes({1: 0.02, 16: 0.04}))
    events = [(0.0, "join", session) for session in range(sessions)]
    events += [
        (FRAME_S * (frame + session / sessions), "frame", session)
        for frame in range(int(seconds / FRAME_S))
        for session in range(sessions)
    ]
    device = _Device(batcher, sorted(events, key=lambda event: event[0]), slack_s=0.04)
    device.run()
    shown: dict[int, int] = defaultdict(int)
    for frame, at_s, is_shown in device.done:
        shown[frame.session] += is_shown and at_s < seconds
    assert min(shown[session] for session in range(sessions)) >= 2
    assert max(shown.values()) - min(shown.values()) <= 2


def test_buckets_rise_to_sixteen() -> None:
    assert BUCKETS == (1, 2, 4, 8, 16)
