"""The bridge to an OpenAI-Realtime-style WebSocket: its messages, and a whole conversation with a local service."""

import asyncio
import base64
import contextlib
import io
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.agents.conversation import BeSilent, Conversation, EndOfSpeech, Fault, Say, Tell
from clients.cli.bridge import standard_input
from engine.errors import AgentUnreachable, CommandInvalid, InputError
from tests.clients.agents_helper import chunks, fake_speaker, loud, tone
from tests.fake_engine import FakeEngine
from tests.serving_helper import start_server

PCM = npt.NDArray[np.int16]


def _delta(audio: PCM | bytes, item: str = "item", response: str = "answer", kind: str = "output_audio") -> str:
    pcm = audio if isinstance(audio, bytes) else audio.astype("<i2").tobytes()
    return json.dumps(
        {
            "type": f"response.{kind}.delta",
            "response_id": response,
            "item_id": item,
            "output_index": 0,
            "content_index": 0,
            "delta": base64.b64encode(pcm).decode(),
        }
    )


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


SPEECH_STARTED = _message("input_audio_buffer.speech_started", audio_start_ms=1200, item_id="user")


@pytest.mark.parametrize("kind", ["output_audio", "audio"])
def test_both_names_of_audio_are_known(kind: str) -> None:
    conversation = Conversation()
    (say,) = conversation.receive(_delta(np.arange(100, dtype=np.int16), kind=kind), 0.0)
    assert isinstance(say, Say)
    assert say.samples.tolist() == list(range(100))
    assert conversation.receive(_message(f"response.{kind}.done", item_id="item", response_id="answer"), 0.0) == [
        EndOfSpeech()
    ]


def test_when_the_user_speaks_the_service_learns_what_was_heard() -> None:
    conversation = Conversation()
    conversation.receive(_delta(tone(1.0, 24_000), "first"), 0.0)
    conversation.receive(_delta(tone(2.0, 24_000), "second"), 1000.0)
    conversation.receive(_delta(tone(1.0, 24_000), "third"), 3000.0)
    silent, *told = conversation.receive(SPEECH_STARTED, 2500.0)
    assert silent == BeSilent()
    messages = [json.loads(each.text) for each in told if isinstance(each, Tell)]
    assert [(each["item_id"], each["audio_end_ms"]) for each in messages] == [("second", 500), ("third", 0)]
    assert {(each["type"], each["content_index"]) for each in messages} == {("conversation.item.truncate", 0)}
    assert conversation.receive(_delta(tone(0.1, 24_000), "third"), 0.0) == [], "late audio of a cut answer"
    assert conversation.receive(SPEECH_STARTED, 0.0) == []
    (say,) = conversation.receive(_delta(tone(0.1, 24_000), "fourth", "another"), 0.0)
    assert isinstance(say, Say)


def test_a_cancelled_answer_is_not_said_to_its_end() -> None:
    cancelled = _message("response.done", response={"id": "answer", "status": "cancelled"})
    completed = _message("response.done", response={"id": "answer", "status": "completed"})
    truncated = _message("conversation.item.truncated", item_id="item", content_index=0, audio_end_ms=1)
    cleared = _message("output_audio_buffer.cleared", response_id="answer")
    other = _message("response.done", response={"id": "older", "status": "cancelled"})
    for message, silent in (
        (cancelled, True),
        (completed, False),
        (truncated, True),
        (cleared, True),
        (other, False),
    ):
        conversation = Conversation()
        conversation.receive(_delta(tone(1.0, 24_000)), 0.0)
        assert conversation.receive(message, 600.0) == ([BeSilent()] if silent else [])
    conversation = Conversation()
    conversation.receive(_delta(tone(1.0, 24_000)), 0.0)
    assert conversation.receive(cancelled, 0.0) == [], "all of it was heard"


@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_audio_may_be_cut_anywhere_even_within_a_sample(cuts: list[int]) -> None:
    wave = np.arange(-100, 100, dtype=np.int16)
    pcm = wave.astype("<i2").tobytes()
    edges = [0, *sorted(cuts), len(pcm)]
    conversation = Conversation()
    said: list[int] = []
    for begin, end in itertools.pairwise(edges):
        for action in conversation.receive(_delta(pcm[begin:end]), 0.0):
            assert isinstance(action, Say)
            said.extend(action.samples.tolist())
    assert said == wave.tolist()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KINDS = st.sampled_from(
    [
        "response.output_audio.delta",
        "response.audio.delta",
        "response.output_audio.done",
        "input_audio_buffer.speech_started",
        "response.done",
        "conversation.item.truncated",
        "output_audio_buffer.cleared",
        "error",
        "session.created",
    ]
)
_NAMES = st.sampled_from(["item_id", "response_id", "content_index", "delta", "response", "error", "status"])
_EVENTS = st.builds(
    lambda kind, fields: json.dumps({**fields, "type": kind}),
    _KINDS,
    st.dictionaries(_NAMES, _JSON, max_size=5),
)
_GOOD = st.builds(
    lambda count, item: _delta(np.ones(count, np.int16), item), st.integers(0, 500), st.sampled_from("abc")
)


@given(
    messages=st.lists(
        st.tuples(
            _EVENTS | _GOOD | st.text(max_size=30) | st.binary(max_size=30),
            st.floats(0, 1e4, allow_nan=False),
        ),
        max_size=20,
    )
)
def test_whatever_comes_is_an_action_or_a_named_error(messages: list[tuple[str | bytes, float]]) -> None:
    conversation = Conversation()
    for message, unheard_ms in messages:
        with contextlib.suppress(InputError):
            for action in conversation.receive(message, unheard_ms):
                if isinstance(action, Tell):
                    assert json.loads(action.text)["audio_end_ms"] >= 0


def test_an_error_of_the_service_is_told() -> None:
    assert Conversation().receive(_message("error", error={"message": "no"}), 0.0) == [Fault("no")]


class _Service:
    """A Realtime service on a free port: one client; ``say`` and ``send`` to it, ``heard`` from it."""

    def __init__(self) -> None:
        self.url = ""
        self.key: str | None = None
        self.heard: list[dict[str, Any]] = []
        self._sockets: asyncio.Queue[Any] = asyncio.Queue()
        self._socket: Any = None

    async def send(self, *messages: str, wait_s: float = 10.0) -> None:
        if self._socket is None:
            self._socket = await asyncio.wait_for(self._sockets.get(), wait_s)
        for message in messages:
            await self._socket.send(message)

    async def hang_up(self) -> None:
        await self._socket.close()

    async def serve(self, socket: Any) -> None:
        self.key = socket.request.headers.get("Authorization")
        self._sockets.put_nowait(socket)
        async for message in socket:
            self.heard.append(json.loads(message))


@pytest.fixture
async def service() -> AsyncIterator[_Service]:
    websockets = pytest.importorskip(
        "websockets.asyncio.server", reason="websockets is not there: pip install 'gohd-live[realtime]'"
    )
    made = _Service()
    async with websockets.serve(made.serve, "127.0.0.1", 0) as server:
        made.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime?model=test"
        yield made


async def test_a_speaker_says_what_the_service_sends_and_stops_for_the_user(service: _Service) -> None:
    from clients.agents.realtime import RealtimeBridge, SpeakerMouth

    async def voice() -> AsyncIterator[bytes]:
        yield b"\x01\x00" * 480

    speaker, session, _ = fake_speaker()
    bridge = RealtimeBridge(service.url, "secret", SpeakerMouth(speaker), microphone=voice(), session={"voice": "x"})
    running = asyncio.create_task(bridge.run())
    await service.send(*(_delta(part) for part in np.array_split(tone(3.0, 24_000), 7)))
    await _true(lambda: speaker.pushed_ms > 2990)
    assert service.key == "Bearer secret"
    assert [each["type"] for each in service.heard] == ["session.update", "input_audio_buffer.append"]
    heard = await chunks(speaker, 25)
    assert sum(map(loud, heard)) > 15
    await service.send("not JSON", SPEECH_STARTED, _delta(tone(1.0, 24_000)))
    await _true(lambda: len(service.heard) == 3)
    heard_ms = 40 * sum(map(loud, heard))
    assert service.heard[2]["audio_end_ms"] == pytest.approx(heard_ms, abs=2)
    assert bridge.damaged_messages == 1
    assert not any(map(loud, await chunks(speaker, 12)))
    assert session.interrupts == 1
    await service.hang_up()
    await asyncio.wait_for(running, 10)
    await speaker.close()


async def test_a_server_says_what_the_service_sends(service: _Service) -> None:
    from clients.agents.realtime import RealtimeBridge, ServerMouth

    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack, FakeEngine(), token="a-long-enough-token")
        url = served.url.replace("http", "ws") + "/ws"
        async with ServerMouth(url, token="a-long-enough-token") as mouth:
            assert mouth.session_id
            running = asyncio.create_task(RealtimeBridge(service.url, None, mouth).run())
            await service.send(_delta(tone(4.0, 24_000)))
            avatar = served.engine.sessions[-1]
            await _true(lambda: avatar.loud_samples > 8_000)
            await service.send(SPEECH_STARTED)
            await _true(lambda: avatar.interrupts == 1 and len(service.heard) == 1)
            assert 200 < service.heard[0]["audio_end_ms"] < 3000
            loud_before = avatar.loud_samples
            await asyncio.sleep(0.3)
            assert avatar.loud_samples <= loud_before + 640
            await service.hang_up()
            await asyncio.wait_for(running, 10)


async def test_the_command_bridges_until_the_service_hangs_up(service: _Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack, FakeEngine())
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from clients.cli import main; main()"),
            *("bridge", service.url, "--server", served.url, "--hear"),
            env=os.environ | {"GOHD_REALTIME_KEY": "secret"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert command.stdin is not None
        command.stdin.write(b"\x02\x00" * 2400)
        await service.send(_delta(tone(0.5, 24_000)), wait_s=60)
        avatar = served.engine.sessions[-1]
        await _true(lambda: avatar.loud_samples > 7_000 and len(service.heard) > 0)
        assert service.key == "Bearer secret"
        assert base64.b64decode(service.heard[0]["audio"])[:4] == b"\x02\x00\x02\x00"
        await service.hang_up()
        told, _ = await asyncio.wait_for(command.communicate(), 60)
        assert command.returncode == 0, told
        assert b"/whep/" in told
        assert b"secret" not in told


async def test_who_cannot_be_reached_is_named(service: _Service) -> None:
    from clients.agents.realtime import RealtimeBridge, ServerMouth, SpeakerMouth

    speaker, _, _ = fake_speaker()
    with pytest.raises(AgentUnreachable, match="cannot connect") as caught:
        await RealtimeBridge("ws://127.0.0.1:9/realtime?key=1", "secret", SpeakerMouth(speaker)).run()
    assert "secret" not in str(caught.value)
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack, FakeEngine())
        with pytest.raises(AgentUnreachable, match="session"):
            async with ServerMouth(served.url.replace("http", "ws") + "/ws", session="nobody"):
                pass
    await speaker.close()


async def _true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def _bridged(service: _Service, served_url: str, stdin: Path | int) -> tuple[int, str]:
    """Exit code and output of a bridge whose service hangs up when it has heard a second and a half of nothing new."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(stdin.open("rb")) if isinstance(stdin, Path) else stdin
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from clients.cli import main; main()"),
            *("bridge", service.url, "--server", served_url, "--hear"),
            stdin=source,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    ended = asyncio.create_task(command.communicate())
    heard = -1
    while not ended.done() and heard != len(service.heard):
        heard = len(service.heard) or -1
        await asyncio.wait({ended}, timeout=1.5)
    if not ended.done():
        await service.send()
        await service.hang_up()
    output, _ = await asyncio.wait_for(ended, 20)
    assert command.returncode is not None
    return command.returncode, output.decode()


@pytest.mark.parametrize("size", [14_401, 4_800])
async def test_the_command_hears_a_file(service: _Service, tmp_path: Path, size: int) -> None:
    """Which an event loop cannot watch; a half sample at its end is no sample."""
    voice = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    (tmp_path / "user.raw").write_bytes(voice)
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack, FakeEngine())
        code, output = await _bridged(service, served.url, tmp_path / "user.raw")
    assert code == 0, output
    heard = b"".join(base64.b64decode(each["audio"]) for each in service.heard)
    assert heard == voice[: size // 2 * 2]


@pytest.mark.parametrize(("content", "says"), [(b"", "no audio"), (b"RIFF" + bytes(4000), "ffmpeg")])
async def test_the_command_says_what_it_cannot_hear(
    service: _Service, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "user.raw").write_bytes(content)
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack, FakeEngine())
        code, output = await _bridged(
            service, served.url, tmp_path / "user.raw" if content else asyncio.subprocess.DEVNULL
        )
    assert code == 2
    assert says in output
    assert "Traceback" not in output


async def _heard(pieces: list[bytes]) -> list[bytes]:
    """What ``--hear`` passes on of a pipe that gets these pieces and then ends."""
    source, end = os.pipe()
    os.set_blocking(source, False)
    with io.FileIO(source) as pipe:
        heard = aiter(standard_input(pipe))
        first = asyncio.ensure_future(anext(heard))
        for piece in pieces:
            await asyncio.sleep(0.02)
            os.write(end, piece)
        os.close(end)
        return [await first, *[piece async for piece in heard]]


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"RIFF\0\0\0\0WAVE", "wave"),
        (b"RF64", "wave"),
        (b"fLaC", "FLAC"),
        (b"OggS", "Ogg"),
        (b"ID3\4", "MP3"),
        (b"FORM", "AIFF"),
        (b"caff", "Core Audio"),
        (b".snd", "AU"),
        (b"\x1a\x45\xdf\xa3", "WebM"),
        (b"\0\0\0\x20ftypisom", "MP4"),
    ],
)
async def test_no_audio_file_is_heard_as_samples(start: bytes, kind: str) -> None:
    """Nor one of which the first bytes come alone, as from a slow pipe."""
    with pytest.raises(CommandInvalid, match=f"{kind} file came.*ffmpeg"):
        await _heard([start[:2], start[2:], bytes(100)])


async def test_a_pipe_that_does_not_block_is_heard_to_its_end() -> None:
    assert b"".join(await _heard([b"ab", b"cdefg", b"hij"])) == b"abcdefghij"


async def test_standard_input_that_cannot_be_read_is_named() -> None:
    start, end = os.pipe()
    with io.FileIO(start), io.FileIO(end) as unreadable, pytest.raises(CommandInvalid, match="cannot be read"):
        async for _ in standard_input(unreadable):
            pass
