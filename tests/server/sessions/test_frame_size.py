"""How large the frames of live sessions are: what was asked for, or what this machine sustains."""

from pathlib import Path

import pytest

from engine.errors import CommandInvalid
from engine.portrait import CROP_SIZES
from server.sessions import engine_thread
from server.sessions.engine_thread import EngineThread
from tests.fake_engine import FakeEngine
from tests.steerable_clock import SteerableClock


async def _chosen(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, ms: dict[int, float], size: int | None) -> int:
    """The size that a machine chooses on which a frame of each size costs so many milliseconds."""

    monkeypatch.setattr(engine_thread, "measure_frames", lambda _: (ms[engine.asked_sizes[-1]] - 1, []))
    monkeypatch.setattr(engine_thread, "measure_encoder_ms", lambda _: 1)
    thread = EngineThread(lambda: engine, Path("portrait.jpg"), SteerableClock(), size)
    try:
        await thread.wait_loaded()
        await thread.enroll(None)  # type: ignore[arg-type]
        assert engine.asked_sizes[-1] == thread.size
        return thread.size
    finally:
        await thread.close()


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        ({512: 30.0}, 512),
        ({512: 31.0, 384: 30.0}, 384),
        ({512: 90.0, 384: 60.0, 256: 30.0}, 256),
        ({512: 400.0, 384: 300.0, 256: 200.0}, 256),
    ],
)
async def test_the_largest_with_30_percent_to_spare(
    monkeypatch: pytest.MonkeyPatch, ms: dict[int, float], expected: int
) -> None:
    assert await _chosen(monkeypatch, FakeEngine(sizes=CROP_SIZES), ms, None) == expected


async def test_the_start_says_on_what_at_what_cost_and_for_how_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_thread, "cores", lambda: 2)
    with caplog.at_level("INFO"):
        await _chosen(monkeypatch, FakeEngine(sizes=CROP_SIZES), {512: 12.0}, None)
    assert "a fake: frames of 512 px take 11.0 ms to render and 1.0 to encode; sessions that fit: 4" in caplog.text


async def test_what_was_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _chosen(monkeypatch, FakeEngine(sizes=CROP_SIZES), {1024: 90.0}, 1024) == 1024


async def test_weights_of_one_size_draw_that(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _chosen(monkeypatch, FakeEngine(), {256: 10.0}, None) == 256


async def test_no_other_size_is_drawn_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandInvalid, match="256 px, not of 512"):
        await _chosen(monkeypatch, FakeEngine(), {256: 10.0}, 512)
