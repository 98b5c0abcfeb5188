"""The LiveKit adapter against the installed livekit-agents: generator, runner and data streams, without a server."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.clients.agents_helper import fake_speaker, tone
from tests.fake_engine import FakeSession

pytest.importorskip("livekit.agents", reason="livekit-agents is not there: pip install 'gohd-live[livekit]'")

from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, DataStreamAudioOutput, QueueAudioOutput

from clients.agents.livekit import AvatarVideo, AvatarWorker, avatar_options
from clients.agents.speaker import Speaker


def _audio(seconds: float, rate_hz: int = 24_000) -> list[rtc.AudioFrame]:
    wave = tone(seconds, rate_hz)
    step = rate_hz // 50
    return [rtc.AudioFrame(part.tobytes(), rate_hz, 1, step) for part in wave.reshape(-1, step)]


def _white(frame: rtc.VideoFrame) -> bool:
    return bool(np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3)[0, -1, 0] == 255)


async def _until_end(video: AvatarVideo) -> list[Any]:
    made = []
    async for item in video:
        made.append(item)
        if isinstance(item, AudioSegmentEnd):
            break
    return made


async def test_the_generator_gives_images_audio_and_the_end() -> None:
    speaker, _, _ = fake_speaker()
    video = AvatarVideo(speaker)
    for frame in _audio(0.6):
        await video.push_audio(frame)
    await video.push_audio(AudioSegmentEnd())
    made = await _until_end(video)
    audio = [item for item in made if isinstance(item, rtc.AudioFrame)]
    assert sum(frame.duration for frame in audio) == pytest.approx(0.6, abs=0.002)
    assert {(frame.sample_rate, frame.num_channels) for frame in audio} == {(48_000, 1)}
    for index, item in enumerate(made):
        if isinstance(item, rtc.VideoFrame):
            assert _white(item) == isinstance(made[index + 1], rtc.AudioFrame)
            assert (item.width, item.height, item.type) == (256, 256, rtc.VideoBufferType.RGB24)
    assert sum(isinstance(item, rtc.VideoFrame) for item in made) >= 15
    await speaker.close()


async def test_the_generator_is_silent_at_once() -> None:
    speaker, session, _ = fake_speaker()
    video = AvatarVideo(speaker)
    for frame in _audio(3.0):
        await video.push_audio(frame)
    await video.push_audio(AudioSegmentEnd())
    made: list[Any] = []
    async for item in video:
        made.append(item)
        if len(made) == 30:
            video.clear_buffer()
        if len(made) == 45:
            break
    assert isinstance(made[29], rtc.AudioFrame) or isinstance(made[28], rtc.AudioFrame)
    assert all(isinstance(item, rtc.VideoFrame) and not _white(item) for item in made[30:])
    assert session.interrupts == 1
    await speaker.close()


async def test_runner_publishes_and_tells_what_was_played() -> None:
    """The whole AvatarRunner with its own sources and synchroniser, in real time; only the room is ours."""
    room, speaker = _Room(), Speaker(FakeSession(object(), 0.0))
    output = QueueAudioOutput(sample_rate=24_000, wait_playback_start=True)
    worker = AvatarWorker(room, speaker, receiver=output)  # type: ignore[arg-type]
    shown = _tap_video(worker)
    told: list[Any] = []
    output.on("playback_finished", told.append)
    running = asyncio.create_task(worker.run())
    for frame in _audio(0.6):
        await output.capture_frame(frame)
    output.flush()
    await asyncio.wait_for(_true(lambda: told), 10)
    assert (told[0].interrupted, round(told[0].playback_position, 1)) == (False, 0.6)
    assert [track.name for track in room.local_participant.published] == ["avatar_audio", "avatar_video"]
    assert any(_white(frame) for _, frame in shown)

    for frame in _audio(5.0):
        await output.capture_frame(frame)
    output.flush()
    await asyncio.wait_for(_true(lambda: shown and _white(shown[-1][1])), 10)
    began_s = time.monotonic()
    output.clear_buffer()
    await asyncio.wait_for(_true(lambda: len(told) == 2), 10)
    assert told[1].interrupted
    assert told[1].playback_position < 2.0
    await asyncio.sleep(0.6)
    late = [when_s - began_s for when_s, frame in shown if _white(frame) and when_s > began_s]
    assert max(late, default=0.0) < 0.1
    running.cancel()
    await asyncio.wait({running})
    await worker.close()


async def test_worker_hears_an_agent_over_data_streams() -> None:
    """Both ends are LiveKit's: DataStreamAudioOutput of an agent, DataStreamAudioReceiver of the avatar, their RPCs."""
    room, agent_room = _connected_rooms()
    speaker = Speaker(FakeSession(object(), 0.0))
    worker = AvatarWorker(room, speaker, sender_identity="agent")  # type: ignore[arg-type]
    output = DataStreamAudioOutput(
        agent_room,  # type: ignore[arg-type]
        destination_identity="avatar",
        sample_rate=24_000,
        wait_playback_start=True,
    )
    started: list[Any] = []
    finished: list[Any] = []
    output.on("playback_started", started.append)
    output.on("playback_finished", finished.append)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(_true(lambda: "lk.audio_stream" in room.byte_handlers), 10)
    for frame in _audio(0.4):
        await output.capture_frame(frame)
    output.flush()
    await asyncio.wait_for(_true(lambda: finished), 10)
    assert len(started) == 1
    assert not finished[0].interrupted
    assert finished[0].playback_position == pytest.approx(0.4, abs=0.002)

    for frame in _audio(5.0):
        await output.capture_frame(frame)
    output.flush()
    await asyncio.wait_for(_true(lambda: len(started) == 2), 10)
    await asyncio.sleep(0.2)
    clear = room.local_participant._rpc_handlers["lk.clear_buffer"]
    assert clear(SimpleNamespace(caller_identity="stranger", payload="")) == "reject"
    assert speaker.generation == 0
    output.clear_buffer()
    await asyncio.wait_for(_true(lambda: len(finished) == 2), 10)
    assert finished[1].interrupted
    assert 0 < finished[1].playback_position < 3.0
    assert speaker.generation == 1
    running.cancel()
    await asyncio.wait({running})


async def test_the_face_says_its_size() -> None:
    speaker, _, _ = fake_speaker()
    options = avatar_options(speaker)
    assert (options.video_width, options.video_height, options.video_fps) == (256, 256, 25)
    await speaker.close()


async def _true(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def _tap_video(worker: AvatarWorker) -> list[tuple[float, rtc.VideoFrame]]:
    shown: list[tuple[float, rtc.VideoFrame]] = []
    source = worker.runner.av_sync._video_source
    capture = source.capture_frame

    def tapped(frame: rtc.VideoFrame, **options: Any) -> None:
        shown.append((time.monotonic(), frame))
        capture(frame, **options)

    source.capture_frame = tapped  # type: ignore[method-assign]
    return shown


class _Participant:
    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        self.state = rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
        self.published: list[rtc.Track] = []
        self.other: _Room | None = None
        self._rpc_handlers: dict[str, Any] = {}

    def register_rpc_method(self, name: str, handler: Any) -> None:
        self._rpc_handlers[name] = handler

    async def perform_rpc(self, *, destination_identity: str, method: str, payload: str) -> str:
        assert self.other is not None
        assert destination_identity == self.other.local_participant.identity
        call = SimpleNamespace(caller_identity=self.identity, payload=payload)
        answer: str = self.other.local_participant._rpc_handlers[method](call)
        return answer

    async def publish_track(self, track: rtc.Track, options: Any) -> Any:
        self.published.append(track)
        return SimpleNamespace(wait_for_subscription=lambda: asyncio.sleep(0))

    async def stream_bytes(self, *, attributes: dict[str, str], topic: str, **_: Any) -> _Stream:
        assert self.other is not None
        stream = _Stream(attributes)
        self.other.byte_handlers[topic](stream, self.identity)
        return stream


class _Room(rtc.EventEmitter[str]):
    """What the avatar classes need of ``rtc.Room``, without a server behind it."""

    def __init__(self, identity: str = "avatar", other: str = "agent") -> None:
        super().__init__()
        self.local_participant = _Participant(identity)
        self.remote_participants = {other: _Participant(other)}
        self.byte_handlers: dict[str, Any] = {}

    def isconnected(self) -> bool:
        return True

    def register_byte_stream_handler(self, topic: str, handler: Any) -> None:
        self.byte_handlers[topic] = handler


def _connected_rooms() -> tuple[_Room, _Room]:
    avatar, agent = _Room(), _Room("agent", "avatar")
    avatar.local_participant.other, agent.local_participant.other = agent, avatar
    return avatar, agent


class _Stream:
    """Both ends of a byte stream."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.info = SimpleNamespace(attributes=attributes, stream_id="stream")
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self._pieces.put_nowait(data)

    async def aclose(self) -> None:
        self._pieces.put_nowait(None)

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.get()
        if piece is None:
            raise StopAsyncIteration
        return piece
