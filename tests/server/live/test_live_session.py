"""A real WebRTC peer speaks with a served fake engine over loopback."""

import asyncio
import gc
import json
import os
import socket as socketlib
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from aiortc import RTCPeerConnection

from server.live.session import LiveSession
from tests.fake_engine import FakeEngine
from tests.serving_helper import Caller, Served, ServeFactory, VoiceTrack, until

RATE_HZ = 48_000


def _tone(seconds: float, level: float = 0.8) -> npt.NDArray[np.int16]:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (32767 * level * np.sin(2 * np.pi * 300 * time_s)).astype(np.int16)


def _silence(seconds: float) -> npt.NDArray[np.int16]:
    return np.zeros(int(seconds * RATE_HZ), np.int16)


def _is_white(frame: av.VideoFrame) -> bool:
    return bool(frame.to_ndarray(format="gray")[:, -3:].mean() > 180)


def _loudness(frame: av.AudioFrame) -> float:
    return float(np.abs(frame.to_ndarray().astype(np.float32)).max() / 32768)


@pytest.mark.realtime
async def test_frames_and_audio_arrive(served: Served) -> None:
    began = time.monotonic()
    caller = await served.caller().connect()
    await until(lambda: caller.frames and caller.sounds)
    assert time.monotonic() - began < 4.0
    await until(lambda: len(caller.frames) > 40)
    steps = np.diff([frame.pts for frame in caller.frames])
    assert np.median(steps) == 3600, "25 fps on the 90 kHz clock"
    assert (steps > 0).all()
    assert not (steps % 1800).any(), "from sample counts, not from a clock"
    assert (caller.frames[0].width, caller.frames[0].height) == (256, 256)
    await until(lambda: any(e["type"] == "stats" for e in caller.events))
    stats = [e for e in caller.events if e["type"] == "stats"][-1]
    assert 100 <= stats["latency_ms"] <= 600


async def test_speech_shows_and_comes_back(served: Served) -> None:
    voice = VoiceTrack(np.concatenate([_silence(0.5), _tone(0.6), _silence(0.5)]))
    caller = await served.caller(voice).connect()
    await until(lambda: any(_loudness(audio) > 0.5 for audio in caller.sounds))
    await until(lambda: any(_is_white(frame) for frame in caller.frames))
    await until(lambda: {"type": "state", "state": "speaking"} in caller.events)
    await until(lambda: {"type": "state", "state": "idle"} in caller.events)


async def test_no_more_sessions_than_fit(serve_fake: ServeFactory) -> None:
    served = await serve_fake(max_sessions=1)
    first = await served.caller().connect()
    async with served.http.post(
        f"{served.url}/offer", json={"sdp": await served.caller().offer(), "type": "offer"}
    ) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        body = await response.json()
    assert body["error"]["code"] == "busy"
    assert body["error"]["message"]
    async with served.http.delete(f"{served.url}/sessions/{first.session_id}") as response:
        assert response.status == 204
    await served.caller().connect()


async def test_a_closed_tab_frees_the_place(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    await caller.hang_up()
    await served.free_again()
    assert served.engine.sessions[-1].closed


async def test_ending_what_has_ended_is_no_mistake(served: Served) -> None:
    """The peer's going may be noticed before the client's word comes; and a client may say it twice."""
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    await caller.hang_up()
    await served.free_again()
    for _ in range(2):
        async with served.http.delete(f"{served.url}/sessions/{caller.session_id}") as response:
            assert response.status == 204
    async with served.http.delete(f"{served.url}/sessions/{'a' * 22}") as response:
        assert response.status == 404


async def test_a_vanished_peer_frees_the_place(serve_fake: ServeFactory) -> None:
    served = await serve_fake(peer_timeout_s=1.0)
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    for transceiver in caller.pc.getTransceivers():  # sockets closed without a good-bye
        for protocol in transceiver.receiver.transport.transport._connection._protocols:
            protocol.transport.close()
    await served.free_again(5.0)


async def test_a_peer_that_never_connects_is_given_up(serve_fake: ServeFactory) -> None:
    served = await serve_fake(connect_timeout_s=0.5)
    status, _ = await served.caller().post()
    assert status == 200
    assert len(served.server.sessions) == 1
    await served.free_again(4.0)


async def test_cycles_leave_nothing_behind(served: Served) -> None:
    """Page, player and socket; benchmarks/live/live_server.py does a hundred of them and looks at memory, too."""

    async def page() -> None:
        caller = await served.caller().connect()
        await until(lambda: caller.frames)
        async with served.http.delete(f"{served.url}/sessions/{caller.session_id}") as response:
            assert response.status == 204
        await caller.hang_up()

    async def socket() -> None:
        async with served.http.ws_connect(f"{served.url}/ws") as client:
            await client.send_str('{"type":"start","rate":16000}')
            session_id = json.loads(await client.receive_str())["session_id"]
            caller = await served.caller().connect(session=session_id)
            await until(lambda: caller.frames)
        await caller.hang_up()

    await page()
    await socket()
    await asyncio.sleep(0.5)
    before = _census()
    for _ in range(5):
        await page()
        await socket()
    served.callers.clear()
    for _ in range(20):  # the last may take a while to go
        await asyncio.sleep(0.25)
        after = _census()
        if all(now <= then for now, then in zip(after, before, strict=True)):
            break
    assert len(served.server.sessions) == 0
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)
    assert all(session.closed for session in served.engine.sessions)


def _census() -> tuple[int, int, int, int, int]:
    """Tasks, threads of sessions and codecs, peers, sessions, sockets."""
    gc.collect()
    engines = [t for t in threading.enumerate() if t.name.startswith(("engine-", "audio-", "video-"))]
    objects = gc.get_objects()
    peers = [o for o in objects if type(o) is RTCPeerConnection and o.connectionState != "closed"]
    sessions = [o for o in objects if type(o) is LiveSession]
    datagrams = [fd for fd in Path("/proc/self/fd").iterdir() if _is_datagram(int(fd.name))]
    return len(asyncio.all_tasks()), len(engines), len(peers), len(sessions), len(datagrams)


def _is_datagram(descriptor: int) -> bool:
    try:
        with socketlib.socket(fileno=os.dup(descriptor)) as found:
            return found.type == socketlib.SOCK_DGRAM
    except OSError:
        return False


async def test_interrupt_silences_at_once(served: Served) -> None:
    caller = await served.caller(VoiceTrack(np.concatenate([_silence(0.3), _tone(16.0)]), speed=4.0)).connect()
    await until(lambda: any(_is_white(frame) for frame in caller.frames))
    runner = served.server.sessions.find(caller.session_id)
    await until(lambda: runner.jitter_buffer.backlog_ms > 4000)
    caller.voice._sent = 10**9  # the caller falls silent
    caller.channel.send('{"type":"interrupt"}')
    await until(lambda: {"type": "interrupted", "generation": 1} in caller.events)
    assert runner.jitter_buffer.backlog_ms < 1000, "what was heard before the interrupt is gone"
    caller.frames.clear()
    caller.sounds.clear()
    # Packets on the way may still come; what was to be said would take longer.
    await until(lambda: len(caller.frames) > 10 and len(caller.sounds) > 20 and _is_silent(caller), 3.0)
    assert served.engine.sessions[-1].interrupts == 1


def _is_silent(caller: Caller) -> bool:
    return not any(map(_is_white, caller.frames[-10:])) and max(map(_loudness, caller.sounds[-20:])) < 0.1


@pytest.mark.realtime
async def test_a_new_frame_leaves_soon_after_an_interrupt(served: Served) -> None:
    caller = await served.caller(VoiceTrack(_tone(20.0))).connect()
    await until(lambda: any(_is_white(frame) for frame in caller.frames))
    runner = served.server.sessions.find(caller.session_id)
    for _ in range(3):  # somebody else's work on the machine must not decide
        waits_ms = []
        for _ in range(5):
            await asyncio.sleep(0.3)
            runner.interrupt()
            began, sent = time.monotonic(), runner.sinks[0].sent
            await until(lambda sent=sent: runner.sinks[0].sent > sent)
            waits_ms.append(1e3 * (time.monotonic() - began))
        if np.median(waits_ms) < 100:
            break
    assert np.median(waits_ms) < 100, waits_ms


@pytest.mark.realtime
async def test_audio_faster_than_real_time_is_paced(served: Served) -> None:
    caller = await served.caller(VoiceTrack(_tone(4.0), speed=3.0)).connect()
    await until(lambda: any(_is_white(frame) for frame in caller.frames))
    began = time.monotonic()
    await until(lambda: len(caller.sounds) > 25 and all(_loudness(s) < 0.1 for s in caller.sounds[-20:]), 12)
    spoken_s = 0.02 * sum(_loudness(audio) > 0.5 for audio in caller.sounds)
    assert spoken_s > 3.6, "nothing that was said is lost"
    assert time.monotonic() - began > 3.0, "it is said at the pace of speech"
    stats = [e for e in caller.events if e["type"] == "stats"]
    assert np.median([e["fps"] for e in stats[1:]]) < 28, "a busy machine may catch up once"


async def test_commands_reach_the_engine(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.channel.readyState == "open")
    caller.channel.send('{"type":"gaze","pitch":0.1,"yaw":-0.2}')
    await until(lambda: served.engine.sessions[-1].gaze == (0.1, -0.2))
    caller.channel.send('{"type":"look","at":"camera"}')
    await until(lambda: served.engine.sessions[-1].gaze == (0.0, 0.0))
    caller.channel.send('{"type":"look","at":"away"}')
    await until(lambda: abs(served.engine.sessions[-1].gaze[1]) > 0.3)
    caller.channel.send('{"type":"look","at":"free"}')
    await until(lambda: served.engine.sessions[-1].gaze is None)
    caller.channel.send('{"type":"intensity","value":0.5}')
    caller.channel.send('{"type":"pose","on":false}')
    await until(lambda: not served.engine.sessions[-1].pose_moves)
    assert served.engine.sessions[-1].intensity == 0.5
    caller.channel.send('{"type":"ping","id":3}')
    await until(lambda: {"type": "pong", "id": 3} in caller.events)


@pytest.mark.parametrize("message", ["{", '{"type":"dance"}', b"\x00\x01", "x" * 5000])
async def test_bad_control_messages_are_answered(served: Served, message: str | bytes) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.channel.readyState == "open")
    caller.channel.send(message)
    await until(lambda: any(e["type"] == "error" for e in caller.events))
    count = len(caller.frames)
    await until(lambda: len(caller.frames) > count)


async def test_a_flood_of_control_messages_is_limited(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.channel.readyState == "open")
    for _ in range(400):
        caller.channel.send('{"type":"ping","id":1}')
    await until(lambda: any(e.get("code") == "rate_limited" for e in caller.events))
    assert sum(e["type"] == "pong" for e in caller.events) < 200


async def test_other_data_channels_are_closed(served: Served) -> None:
    caller = served.caller()
    other = caller.pc.createDataChannel("files")
    await caller.connect()
    await until(lambda: other.readyState == "closed")
    await until(lambda: caller.channel.readyState == "open")


async def test_the_peers_image_is_refused(served: Served) -> None:
    caller = served.caller()
    from aiortc.mediastreams import VideoStreamTrack

    caller.pc.addTrack(VideoStreamTrack())
    await caller.connect()
    await until(lambda: caller.frames)
    directions = {t.kind: t.currentDirection for t in caller.pc.getTransceivers()}
    assert directions["video"] == "recvonly"


async def test_an_engine_that_fails_ends_its_session_only(served: Served) -> None:
    other = await served.caller().connect()
    await until(lambda: other.frames)
    caller = await served.caller().connect()
    await until(lambda: caller.frames and caller.channel.readyState == "open")
    served.engine.sessions[-1].fail = True
    await until(lambda: any(e["type"] == "error" and e["code"] == "internal" for e in caller.events))
    await until(lambda: len(served.server.sessions) == 1)
    count, began = len(other.frames), time.monotonic()
    await until(lambda: len(other.frames) > count + 50)
    assert time.monotonic() - began < 6, "the other session goes on at its pace"
    again = await served.caller().connect()
    await until(lambda: again.frames)


async def test_sessions_run_side_by_side(served: Served) -> None:
    burst = np.concatenate([_tone(0.3), _silence(0.3)])
    loud = await served.caller(VoiceTrack(np.tile(burst, 20))).connect()
    quiet = await served.caller().connect()
    await until(lambda: len(loud.frames) > 60 and len(quiet.frames) > 60)
    assert any(_is_white(frame) for frame in loud.frames)
    assert not any(_is_white(frame) for frame in quiet.frames)
    assert max(_loudness(audio) for audio in quiet.sounds) < 0.1
    async with served.http.delete(f"{served.url}/sessions/{loud.session_id}") as response:
        assert response.status == 204
    count = len(quiet.frames)
    await until(lambda: len(quiet.frames) > count + 20)
    assert len(served.server.sessions) == 1


async def test_a_second_viewer_sees_and_hears_the_same(served: Served) -> None:
    speaker = await served.caller(VoiceTrack(np.tile(np.concatenate([_tone(0.3), _silence(0.3)]), 20))).connect()
    viewer = await served.caller().connect(session=speaker.session_id)
    assert viewer.session_id == speaker.session_id
    await until(lambda: any(_is_white(frame) for frame in viewer.frames))
    await until(lambda: any(_loudness(audio) > 0.5 for audio in viewer.sounds))
    assert len(served.server.sessions) == 1
    await viewer.hang_up()
    session = served.server.sessions.find(speaker.session_id)
    await until(lambda: len(session.sinks) == 1)
    count = len(speaker.frames)
    await until(lambda: len(speaker.frames) > count + 10)
    again = await served.caller().connect(session=speaker.session_id)
    await until(lambda: again.frames)
    await speaker.hang_up()
    await served.free_again()
    await until(lambda: again.pc.connectionState == "closed")


async def test_states_are_told(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.channel.readyState == "open")
    engine = served.engine.sessions[-1]
    caller.channel.send('{"type":"state","state":"listening"}')
    await until(lambda: {"type": "state", "state": "listening"} in caller.events)
    await until(lambda: engine.gaze == (0.0, 0.0))
    caller.channel.send('{"type":"state","state":"thinking"}')
    await until(lambda: {"type": "state", "state": "thinking"} in caller.events)
    await until(lambda: abs(engine.gaze[1]) > 0.3)
    caller.channel.send('{"type":"state","state":"idle"}')
    await until(lambda: engine.gaze is None)


@pytest.mark.realtime
async def test_a_slow_engine_keeps_the_audio_whole(serve_fake: ServeFactory) -> None:
    served = await serve_fake(engine=FakeEngine(render_s=0.06))
    caller = await served.caller(VoiceTrack(_tone(6.0))).connect()
    await until(lambda: any(_loudness(s) > 0.5 for s in caller.sounds))
    caller.sounds.clear()
    await asyncio.sleep(3.0)
    runner = served.server.sessions.find(caller.session_id)
    loud = [_loudness(s) > 0.5 for s in caller.sounds]
    assert np.mean(loud) > 0.9
    assert len(loud) > 130
    assert runner.worker.skipped_ms > 0
    assert len(caller.frames) > 20
    assert runner.timeline.delay_blocks <= 20


async def test_engine_stays_on_one_thread(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: len(caller.frames) > 5)
    threads: set[Any] = served.engine.sessions[-1].threads
    assert len(threads) == 1
    assert threading.get_ident() not in threads
