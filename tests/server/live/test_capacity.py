"""How many fit, who watches over it, and how a server ends."""

import asyncio
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.live.capacity import CpuPerFrame, FrameCost, capacity
from tests.fake_engine import FakeEngine
from tests.serving_helper import Served, ServeFactory, until


def test_capacity_follows_the_cost_of_a_frame() -> None:
    assert capacity(FrameCost(render_ms=15, encode_ms=5), 2) == 2
    assert capacity(FrameCost(render_ms=28, encode_ms=3), 2) == 1, "what a machine of two cores bore, no more"
    assert capacity(FrameCost(render_ms=15, encode_ms=5), 16) == 19
    assert capacity(FrameCost(render_ms=1000, encode_ms=5), 2) == 1
    assert capacity(FrameCost(render_ms=0, encode_ms=0.1), 2, limit=8) == 8


@pytest.mark.realtime
async def test_places_are_measured_at_start(serve_fake: ServeFactory, caplog: pytest.LogCaptureFixture) -> None:
    served = await serve_fake(engine=FakeEngine(render_s=0.05), core_count=4)
    await served.server.wait_loaded()
    cost = served.server.sessions.cost
    assert cost is not None
    assert 45 < cost.render_ms < 150
    assert served.server.sessions.capacity == capacity(cost, 4)
    assert "try --backend geometric" in caplog.text, "a frame is due every 40 ms"


async def test_sessions_that_run_slowly_leave_no_room_for_more(serve_fake: ServeFactory) -> None:
    engine = FakeEngine()
    served = await serve_fake(engine=engine, core_count=4)
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    assert served.server.sessions.free > 0
    engine.sessions[-1].render_s = 0.2
    await until(lambda: served.server.sessions.free == 0, 15)
    status, body = await served.caller().post()
    assert (status, body["error"]["code"]) == (503, "busy")


def test_all_that_the_process_spends_for_a_frame_counts() -> None:
    spent_s = 100.0
    spent = CpuPerFrame(lambda: spent_s)
    spent.note(0)
    spent_s += 1.5
    spent.note(49)
    assert spent.milliseconds == 0.0, "too few to say"
    spent_s += 0.5
    spent.note(50)
    assert spent.milliseconds == 40.0
    spent.forget()
    spent_s += 60.0
    spent.note(50)
    spent_s += 2.0
    spent.note(150)
    assert spent.milliseconds == 20.0, "what was spent while nobody ran is nobody's"


async def test_what_is_spent_beside_the_engine_takes_places(serve_fake: ServeFactory) -> None:
    served = await serve_fake(core_count=2)
    spent_s = 0.0
    sessions = served.server.sessions
    sessions._spent = CpuPerFrame(lambda: spent_s)
    caller = await served.caller().connect()
    sessions.cost = FrameCost(render_ms=1, encode_ms=5)  # and not what a busy machine took
    session = sessions.find(caller.session_id)
    await until(lambda: session.frames_made >= 50)
    before = sessions.capacity
    assert before > 1
    spent_s += 0.045 * session.frames_made
    assert sessions.capacity == 1
    status, body = await served.caller().post()
    assert (status, body["error"]["code"]) == (503, "busy")


def _samples(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def _metrics(served: Served) -> dict[str, float]:
    async with served.http.get(f"{served.url}/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return _samples(await response.text())


async def test_metrics_tell_what_happens(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: len(caller.frames) > 5)
    served.server.sessions.find(caller.session_id).interrupt()
    sent = len(caller.frames)
    await until(lambda: len(caller.frames) > sent + 5)
    await until(lambda: b"gohd_interrupt_seconds_count 1.0" in served.server.metrics.text())
    async with served.http.get(f"{served.url}/nowhere"):
        pass
    now = await _metrics(served)
    assert now["gohd_sessions{}"] == now["gohd_viewers{}"] == 1
    assert now["gohd_session_capacity{}"] >= 1
    assert now["gohd_sessions_started_total{}"] == 1
    assert now["gohd_frames_total{}"] > 5
    assert now["gohd_interrupt_seconds_count{}"] == 1
    assert now["gohd_first_frame_seconds_count{}"] == 1
    assert now["gohd_http_requests_total{route=/offer,status=200}"] == 1
    assert now["gohd_refusals_total{code=not_found}"] >= 1
    assert not any(caller.session_id in name for name in now)
    await caller.hang_up()
    await served.free_again()
    after = await _metrics(served)
    assert after["gohd_sessions{}"] == after["gohd_viewers{}"] == 0


async def test_draining_lets_nobody_in_and_waits_for_those_inside(serve_fake: ServeFactory) -> None:
    served = await serve_fake(drain_timeout_s=20.0)
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    draining = asyncio.ensure_future(served.server.drain())
    await asyncio.sleep(0.1)
    async with served.http.get(f"{served.url}/readyz") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "draining")
    async with served.http.get(f"{served.url}/healthz") as response:
        assert response.status == 200
    status, body = await served.caller().post()
    assert (status, body["error"]["code"]) == (503, "draining")
    count = len(caller.frames)
    await until(lambda: len(caller.frames) > count + 5)
    assert not draining.done()
    await caller.hang_up()
    await asyncio.wait_for(draining, 5)


async def test_draining_has_an_end(serve_fake: ServeFactory) -> None:
    served = await serve_fake(drain_timeout_s=0.3)
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    began = time.monotonic()
    await served.server.drain()
    assert 0.2 < time.monotonic() - began < 1.5


async def test_portraits_are_enrolled_while_others_speak(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    portrait, _ = await served.server.manager.enroll(np.full((32, 32, 3), 90, np.uint8))
    other = await served.caller().connect(portrait=portrait)
    await until(lambda: other.frames)
