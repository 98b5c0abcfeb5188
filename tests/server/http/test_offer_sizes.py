"""Frames of the size that a client asks for, up to the server's own."""

from typing import Any

import pytest

from engine.portrait import CROP_SIZES
from tests.fake_engine import FakeEngine
from tests.serving_helper import Served, ServeFactory, image_bytes, until

SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
async def served(serve_fake: ServeFactory) -> Served:
    return await serve_fake(engine=FakeEngine(sizes=CROP_SIZES), size=384)


async def _portrait(served: Served) -> str:
    headers = {"Content-Type": "image/jpeg"}
    async with served.http.post(f"{served.url}/portraits?consent=1", data=image_bytes(), headers=headers) as response:
        portrait_id: str = (await response.json())["portrait_id"]
        return portrait_id


async def test_one_portrait_is_shown_at_two_sizes(served: Served) -> None:
    portrait = await _portrait(served)
    small, large = served.caller(), served.caller()
    for caller, size in ((small, {"size": 256}), (large, {})):
        await caller.connect(portrait=portrait, **size)
    await until(lambda: small.frames and large.frames)
    assert (small.frames[0].width, small.frames[0].height) == (256, 256)
    assert (large.frames[0].width, large.frames[0].height) == (384, 384)


async def test_the_answer_says_the_size(served: Served) -> None:
    asked: list[dict[str, Any]] = [{}, {"size": 384}, {"size": 256}]
    answers = [await served.caller().post(**fields) for fields in asked]
    assert [answer["size"] for _, answer in answers] == [384, 384, 256]
    watched = answers[2][1]["session_id"]
    assert (await served.caller().post(session=watched))[1]["size"] == 256


@pytest.mark.parametrize("size", [512, 1024, 300, 0, -256, 256.5, "256", True, [256], 1e99])
async def test_another_size_is_refused(served: Served, size: object) -> None:
    status, body = await served.caller().post(size=size)
    assert (status, body["error"]["code"]) == (400, "bad_message")
    assert "256" in body["error"]["message"]
    assert len(served.server.sessions) == 0


async def test_players_ask_in_the_address(served: Served) -> None:
    player = served.caller()
    async with served.http.post(f"{served.url}/whep?size=256", data=await player.offer(), headers=SDP) as response:
        assert (response.status, response.headers["Frame-Size"]) == (201, "256")
    session = served.engine.sessions[-1]
    assert session.frame_size == (256, 256)
    for query in ("512", "-1", "x", "", "\N{SUPERSCRIPT TWO}", "9" * 5000):
        url = f"{served.url}/whep"
        async with served.http.post(url, params={"size": query}, data="v=0", headers=SDP) as response:
            assert response.status == 400, query


async def test_sockets_ask_in_their_first_message(served: Served) -> None:
    for fields, expected in (({"size": 256}, {"type": "started", "size": 256}), ({"size": 512}, {"type": "error"})):
        async with served.http.ws_connect(f"{served.url}/ws") as socket:
            await socket.send_json({"type": "start", "rate": 16_000, **fields})
            first = await socket.receive_json()
            assert first.items() >= expected.items()
