"""The ramp of sessions runs with a fake engine; no time of a real one is asserted."""

from typing import Any

import pytest

from benchmarks.sessions import Ramp, _longest_run
from tests.fake_engine import FakeEngine


@pytest.mark.parametrize("batch_s", [None, 0.002])
def test_sessions_speak_and_their_frames_are_counted(batch_s: float | None) -> None:
    engine: Any = FakeEngine(batch_s=batch_s)
    ramp = Ramp(engine, 256, batches=engine.batches, slot_ms=40.0, encode=False)
    row = ramp.level(3, seconds=0.8, warm_up_s=0.2)
    ramp.close()
    assert row["frames"] == 60
    assert row["fps_least"] > 12
    assert row["made_ms"]["p50"] < row["latency_ms"]["p50"]
    assert row["longest_run"] <= row["misses"] * row["frames"]
    assert (ramp.predicted > 10) == engine.batches
    assert all(session.closed for session in engine.sessions if session.next_frame)


def test_a_device_that_is_too_slow_misses() -> None:
    engine: Any = FakeEngine(batch_s=None, render_s=0.06)
    ramp = Ramp(engine, 256, batches=False, slot_ms=40.0, encode=False)
    assert ramp.level(1, seconds=0.6, warm_up_s=0.2)["misses"] > 0.5


def test_runs_of_misses() -> None:
    assert _longest_run([False, True, True, False, True]) == 2
    assert _longest_run([]) == 0
