"""Sessions of a real server that share one device."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine import load_engine
from server.live.batching import BatchTimes
from server.live.block import BLOCK_SAMPLES, Block
from server.live.capacity import FrameCost, capacity, measure_batches
from server.live.clock import MonotonicClock
from server.live.device_worker import DeviceWorker
from server.live.frame import LiveFrame
from server.live.worker import EngineWorker
from tests.fake_engine import FakeEngine
from tests.serving_helper import Caller, Served, ServeFactory, VoiceTrack, until

RATE_HZ = 48_000


def _bursts() -> npt.NDArray[np.int16]:
    time_s = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    tone = (26_000 * np.sin(2 * np.pi * 300 * time_s)).astype(np.int16)
    return np.tile(np.concatenate([tone, np.zeros_like(tone)]), 20)


def _whites(caller: Caller) -> int:
    return sum(frame.to_ndarray(format="gray")[:, -3:].mean() > 180 for frame in caller.frames)


@pytest.fixture
async def shared(serve_fake: ServeFactory) -> Served:
    served = await serve_fake(engine=FakeEngine(batch_s=0.003))
    await served.server.wait_loaded()
    served.engine.renderer.left.clear()
    served.engine.renderer.batches.clear()
    return served


async def test_two_voices_share_a_device_and_each_shows_its_own(shared: Served) -> None:
    loud = await shared.caller(VoiceTrack(_bursts())).connect()
    quiet = await shared.caller().connect()
    await until(lambda: len(quiet.frames) > 30 and _whites(loud) > 3)
    assert _whites(quiet) == 0
    assert np.median(np.diff([frame.pts for frame in loud.frames])) == 3600
    await loud.hang_up()
    await until(lambda: shared.engine.renderer.left == [shared.engine.sessions[-2].row])
    count = len(quiet.frames)
    await until(lambda: len(quiet.frames) > count + 10)


async def test_out_of_memory_ends_one_session_and_no_other(shared: Served) -> None:
    first, second = await shared.caller().connect(), await shared.caller().connect()
    await until(lambda: first.frames and second.frames and second.channel.readyState == "open")
    row = shared.engine.sessions[-1].row
    shared.engine.renderer.full_for.add(row)
    await until(lambda: len(shared.server.sessions) == 1)
    await until(lambda: row in shared.engine.renderer.left)
    await until(lambda: any(event.get("code") == "busy" for event in second.events))
    count, began_s = len(first.frames), time.monotonic()
    await until(lambda: len(first.frames) > count + 25)
    assert time.monotonic() - began_s < 4


async def test_an_interrupt_withdraws_what_the_device_has_not_begun(shared: Served) -> None:
    caller = await shared.caller(VoiceTrack(_bursts())).connect()
    await until(lambda: _whites(caller) > 1)
    session = shared.server.sessions.find(caller.session_id)
    for turn in range(3):
        shared.engine.renderer.batch_s = 0.15
        await asyncio.sleep(0.3)
        session.interrupt()
        shared.engine.renderer.batch_s = 0.003
        sink = session.sinks[0]
        sent = sink.sent
        await until(lambda sent=sent, sink=sink: sink.sent > sent + 5)
        assert shared.engine.sessions[-1].interrupts == turn + 1
    assert session.worker.alive


@pytest.mark.realtime
async def test_a_device_that_falls_behind_hides_frames_and_catches_up(shared: Served) -> None:
    caller = await shared.caller().connect()
    await until(lambda: len(caller.frames) > 5)
    worker = shared.server.sessions.find(caller.session_id).worker
    shared.engine.renderer.batch_s = 0.4
    await until(lambda: worker.hidden_frames > 0)
    shared.engine.renderer.batch_s = 0.003
    count = len(caller.frames)
    await until(lambda: len(caller.frames) > count + 25)
    for _ in range(3):  # somebody else's work on the machine must not decide
        hidden, count = worker.hidden_frames, len(caller.frames)
        await until(lambda count=count: len(caller.frames) > count + 25)
        if worker.hidden_frames <= hidden + 2:
            break
    assert worker.hidden_frames <= hidden + 2


async def test_sessions_that_come_and_go_leave_nothing_at_the_device(shared: Served) -> None:
    manager = shared.server.manager
    for _ in range(3):
        sessions = await asyncio.gather(*(manager.open() for _ in range(6)))
        await until(lambda sessions=sessions: all(session.frames_made > 2 for session in sessions))
        await asyncio.gather(*(session.close("test") for session in sessions))
    rows = {session.row for session in shared.engine.sessions[-18:]}
    await until(lambda: set(shared.engine.renderer.left) >= rows)
    assert max(shared.engine.renderer.batches) > 1


async def test_a_fault_of_the_device_ends_who_was_in_the_batch_and_not_the_server(shared: Served) -> None:
    caller = await shared.caller().connect()
    await until(lambda: caller.frames)
    shared.engine.renderer.fail = True
    await until(lambda: len(shared.server.sessions) == 0)
    shared.engine.renderer.fail = False
    again = await shared.caller().connect()
    await until(lambda: again.frames)


async def test_places_are_those_of_the_device_and_of_the_cores(shared: Served) -> None:
    cost = shared.server.sessions.cost
    assert cost is not None
    assert cost.device is not None
    assert 0.003 <= cost.device.of(1) < 0.2
    assert shared.server.sessions.capacity == capacity(cost, 1000)


def test_the_engines_sessions_make_their_own_frames_on_a_shared_device(portrait_path: Path) -> None:
    """With the bundled weights: what two sessions show at once is what each shows alone."""
    engine = load_engine(device="cpu")
    avatar = engine.enroll(portrait_path)
    renderer = engine.open_renderer(2)
    sessions = [engine.open_session(avatar, seed=seed, renderer=renderer) for seed in (1, 2)]
    times, core_ms, rendered = measure_batches(sessions, renderer, buckets=(1, 2))
    assert (times.buckets, len(rendered)) == ((1, 2), 2)
    assert core_ms > 0
    for session in sessions:
        renderer.leave(session.row)
    device = DeviceWorker(renderer, times, MonotonicClock())
    device.start()
    voice = _bursts().reshape(-1, BLOCK_SAMPLES)[:17]
    blocks = [Block(index * BLOCK_SAMPLES, samples) for index, samples in enumerate(voice)]
    shown: list[list[LiveFrame]] = [[], []]
    ended = [threading.Event(), threading.Event()]
    workers = [
        EngineWorker(
            engine.open_session(avatar, seed=number, renderer=renderer),
            MonotonicClock(),
            on_frame=shown[number].append,
            on_ended=lambda error, number=number: ended[number].set(),
            departs_s=lambda sample: time.monotonic() + 60,
            name=str(number),
            device=device,
        )
        for number in range(2)
    ]
    for worker in workers:
        worker.start()
    alone = [engine.open_session(avatar, seed=number).push_pcm(voice.reshape(-1), RATE_HZ) for number in (0, 1)]
    end_s = time.monotonic() + 60
    for heard, block in enumerate(blocks):
        _wait_for(shown, heard // 2 - 5, end_s)
        for worker in workers:
            worker.put([block])
    _wait_for(shown, len(alone[0]), end_s)
    for worker, event in zip(workers, ended, strict=True):
        worker.stop()
        assert event.wait(5)
    device.stop()
    for images, frames in zip(shown, alone, strict=True):
        assert [image.place for image in images] == [3 * frame.pts_samples for frame in frames]
        for image, frame in zip(images, frames, strict=True):
            assert np.abs(image.rgb.astype(int) - frame.rgb.astype(int)).max() <= 1


def _wait_for(shown: list[list[LiveFrame]], count: int, end_s: float) -> None:
    while min(map(len, shown)) < count:
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.005)


def test_capacity_is_bound_by_the_device_and_by_the_cores() -> None:
    device = BatchTimes({1: 0.002, 16: 0.006})
    assert capacity(FrameCost(render_ms=0.1, encode_ms=0.1, device=device), 1000) == 81
    assert capacity(FrameCost(render_ms=3, encode_ms=5, device=device), 2) == 6
    assert capacity(FrameCost(render_ms=0.1, encode_ms=0.1, device=BatchTimes({1: 0.1})), 2) == 1
