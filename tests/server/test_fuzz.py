"""Hostile input at every door: a refusal in words and quickly, or an answer; never a dead server, nothing left over.

What once broke something, here or in aiortc, is kept in ``tests/golden/hostile.json`` and tried first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_helper import Served, ServeFactory

from server.offer import check_candidates, check_offer
from server.protocol import Refusal

HOSTILE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "hostile.json").read_text("utf-8")
)
GOOD_SDP: str = HOSTILE["good_offer"]
GOOD_FRAGMENT: str = HOSTILE["good_fragment"]

some = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "drop", "double", "insert", "swap"]),
        st.integers(0, 10_000),
        st.text(max_size=12),
    ),
    min_size=1,
    max_size=6,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(
    ["start", "audio", "gaze", "look", "intensity", "pose", "state", "interrupt", "ping", "offer", "x"]
)
FIELDS = st.sampled_from(
    ["rate", "live", "pcm", "pitch", "yaw", "at", "value", "on", "state", "id", "sdp", "portrait", "session"]
)
MESSAGES = (
    st.builds(
        lambda kind, rest: json.dumps({**rest, "type": kind}),
        TYPES,
        st.dictionaries(FIELDS, JSON, max_size=4),
    )
    | JSON.map(json.dumps)
    | st.text(max_size=200)
    | st.binary(max_size=200)
)


def _changed(text: str, changes: list[tuple[str, int, str]]) -> str:
    lines = text.split("\r\n")
    for change, at, what in changes:
        line = at % len(lines)
        match change:
            case "cut":
                lines[line] = lines[line][: at % (len(lines[line]) + 1)]
            case "drop" if len(lines) > 1:
                del lines[line]
            case "double":
                lines.insert(line, lines[at * 7 % len(lines)])
            case "insert":
                place = at % (len(lines[line]) + 1)
                lines[line] = lines[line][:place] + what + lines[line][place:]
            case "swap":
                other = at * 13 % len(lines)
                lines[line], lines[other] = lines[other], lines[line]
    return "\r\n".join(lines)


@pytest.fixture
async def patient(serve_fake: ServeFactory) -> AsyncIterator[Served]:
    """A server whose faults are all collected: none may be left when the test ends."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    served = await serve_fake(request_burst=10**6, connect_timeout_s=0.3, max_sessions=8)
    await served.server.wait_loaded()
    yield served
    async with served.http.get(f"{served.url}/healthz") as response:
        assert response.status == 200
    await served.server.sessions.close_all("the test ends")
    assert len(served.server.sessions) == 0
    assert not [fault for fault in faults if "exception" in fault], faults


async def _send(served: Served, method: str, path: str, **more: Any) -> int:
    began = time.monotonic()
    try:
        async with served.http.request(method, served.url + path, **more) as response:
            text, status = await response.text(), response.status
    except (aiohttp.ClientError, ValueError, UnicodeError):  # refused by the client before it was sent
        return 0
    assert time.monotonic() - began < 2.0
    if status >= 400 and method != "HEAD":
        assert status in range(400, 500) or status == 503, text
        assert set(json.loads(text)) == {"error"}
    if status == 200 and path == "/offer":
        await served.server.sessions.find(json.loads(text)["session_id"]).close("next")
    if status == 201 and path.startswith("/whep"):
        await served.server.sessions.close_all("next")
    return status


@pytest.mark.parametrize("sdp", HOSTILE["offers"])
async def test_hostile_offers_of_old(patient: Served, sdp: str) -> None:
    await _send(patient, "POST", "/offer", json={"type": "offer", "sdp": sdp})
    await _send(
        patient,
        "POST",
        "/whep",
        data=sdp.encode("utf-8", "replace"),
        headers={"Content-Type": "application/sdp"},
    )


@some
@given(CHANGES)
async def test_changed_offers(patient: Served, changes: list[tuple[str, int, str]]) -> None:
    sdp = _changed(GOOD_SDP, changes)
    await _send(patient, "POST", "/offer", json={"type": "offer", "sdp": sdp})


@some
@given(CHANGES)
async def test_changed_offers_of_players(patient: Served, changes: list[tuple[str, int, str]]) -> None:
    body = _changed(GOOD_SDP, changes).encode("utf-8", "replace")
    await _send(patient, "POST", "/whep", data=body, headers={"Content-Type": "application/sdp"})


@some
@given(MESSAGES)
async def test_any_body_of_an_offer(patient: Served, body: str | bytes) -> None:
    data = body.encode("utf-8", "replace") if isinstance(body, str) else body
    status = await _send(patient, "POST", "/offer", data=data, headers={"Content-Type": "application/json"})
    assert status in (400, 413)


@some
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    path=st.sampled_from(
        ["/offer", "/portraits", "/sessions/x", "/whep", "/whep/x", "/whep/viewers/x", "/ws", "/ice", "/"]
    )
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(lambda text: f"/{text}"),
    header=st.sampled_from(
        [
            "Content-Type",
            "Accept",
            "If-Match",
            "Origin",
            "Authorization",
            "Range",
            "Upgrade",
            "Sec-WebSocket-Protocol",
        ]
    ),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    body=st.binary(max_size=100),
)
async def test_any_request(
    patient: Served, method: str, path: str, header: str, value: str, body: bytes
) -> None:
    data = None if method in ("GET", "HEAD") else body
    await _send(patient, method, path, headers={header: value}, data=data)


@some
@given(st.lists(MESSAGES, max_size=8))
async def test_any_beginning_of_a_socket(patient: Served, messages: list[str | bytes]) -> None:
    async with patient.http.ws_connect(f"{patient.url}/ws") as socket:
        await _converse(socket, messages)


@some
@given(st.lists(MESSAGES, max_size=12))
async def test_any_messages_in_a_session(patient: Served, messages: list[str | bytes]) -> None:
    async with patient.http.ws_connect(f"{patient.url}/ws") as socket:
        await socket.send_str('{"type":"start","rate":16000}')
        assert json.loads(await socket.receive_str())["type"] == "started"
        await _converse(socket, messages)
        await socket.send_str('{"type":"ping","id":77}')
        async with asyncio.timeout(5):
            while '"id":77' not in await socket.receive_str():
                pass


@pytest.mark.parametrize("message", HOSTILE["messages"])
async def test_hostile_messages_of_old(patient: Served, message: str) -> None:
    async with patient.http.ws_connect(f"{patient.url}/ws") as socket:
        await socket.send_str('{"type":"start","rate":16000}')
        await _converse(socket, [message])
        await socket.send_str('{"type":"ping","id":77}')
        async with asyncio.timeout(5):
            while '"id":77' not in await socket.receive_str():
                pass


async def _converse(socket: aiohttp.ClientWebSocketResponse, messages: list[str | bytes]) -> None:
    for message in messages:
        if socket.closed:
            return
        try:
            if isinstance(message, str):
                await socket.send_str(message.encode("utf-8", "replace").decode())
            else:
                await socket.send_bytes(message)
        except ConnectionError:
            return


@settings(deadline=None, max_examples=300)
@given(CHANGES)
def test_changed_fragments_and_offers_are_read_or_refused(changes: list[tuple[str, int, str]]) -> None:
    for check, text in ((check_candidates, GOOD_FRAGMENT), (check_offer, GOOD_SDP)):
        with contextlib.suppress(Refusal):
            check(_changed(text, changes))  # type: ignore[operator]


@pytest.mark.parametrize("fragment", HOSTILE["fragments"])
def test_hostile_fragments_of_old(fragment: str) -> None:
    with contextlib.suppress(Refusal):
        found = check_candidates(fragment)
        assert all(candidate.startswith("candidate:") for _, candidate in found.candidates)
