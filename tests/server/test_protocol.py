"""The wire, against the vectors that the JavaScript tests read too."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import protocol
from server.live import messages
from server.live.messages import Refusal

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "protocol.json").read_text("utf-8"))
CONTROLS = {
    c.TYPE: c
    for c in (
        messages.Gaze,
        messages.Look,
        messages.Intensity,
        messages.Pose,
        messages.TellState,
        messages.Interrupt,
        messages.Ping,
    )
}
EVENTS = {
    e.TYPE: e
    for e in (
        messages.Started,
        messages.StateEvent,
        messages.StatsEvent,
        messages.Interrupted,
        messages.Pong,
        messages.ErrorEvent,
    )
}


def _by_name(vector: dict[str, Any]) -> str:
    return vector["name"]


@pytest.mark.parametrize("vector", GOLDEN["offers"], ids=_by_name)
def test_offers_are_read(vector: dict[str, Any]) -> None:
    offer = protocol.parse_offer(vector["wire"].encode())
    assert (offer.sdp, offer.portrait, offer.session, offer.size) == (
        vector["sdp"],
        vector["portrait"],
        vector["session"],
        vector["size"],
    )


@pytest.mark.parametrize("vector", GOLDEN["bad_offers"], ids=_by_name)
def test_bad_offers_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        protocol.parse_offer(vector["wire"].encode())
    assert caught.value.code == vector["code"]
    assert caught.value.status == 400


def test_answers_portraits_and_errors_are_written() -> None:
    for vector in GOLDEN["answers"]:
        answer = messages.Answer(sdp=vector["sdp"], session_id=vector["session_id"], size=vector["size"])
        assert protocol.encode_answer(answer) == json.loads(vector["wire"])
    for vector in GOLDEN["portraits"]:
        assert protocol.encode_portrait(vector["portrait_id"], tuple(vector["warnings"])) == json.loads(vector["wire"])
    for vector in GOLDEN["ice_servers"]:
        assert protocol.encode_ice_servers(vector["servers"], vector["relay_only"]) == json.loads(vector["wire"])
    for vector in GOLDEN["errors"]:
        refusal = Refusal(vector["code"], vector["message"])
        assert refusal.status == vector["status"]
        assert protocol.encode_error(refusal.code, refusal.message) == json.loads(vector["wire"])


@pytest.mark.parametrize("vector", GOLDEN["controls"], ids=lambda v: v["wire"])
def test_controls_are_read(vector: dict[str, Any]) -> None:
    fields = dict(vector["message"])
    assert protocol.parse_control(vector["wire"]) == CONTROLS[fields.pop("type")](**fields)


@pytest.mark.parametrize("vector", GOLDEN["bad_controls"], ids=_by_name)
def test_bad_controls_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        protocol.parse_control(vector["wire"])
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", GOLDEN["starts"], ids=lambda v: v["wire"])
def test_starts_are_read(vector: dict[str, Any]) -> None:
    assert protocol.parse_start(vector["wire"]) == messages.Start(**vector["start"])


@pytest.mark.parametrize("vector", GOLDEN["bad_starts"], ids=_by_name)
def test_bad_starts_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        protocol.parse_start(vector["wire"])
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", GOLDEN["sounds"], ids=lambda v: v["wire"])
def test_audio_is_read_as_text_and_as_bytes(vector: dict[str, Any]) -> None:
    pcm = bytes(vector["bytes"])
    assert protocol.parse_message(vector["wire"]) == protocol.parse_message(pcm) == messages.Audio(pcm)


@pytest.mark.parametrize("vector", GOLDEN["bad_sounds"], ids=_by_name)
def test_bad_audio_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        protocol.parse_message(vector["wire"])
    assert caught.value.code == vector["code"]


def test_audio_has_limits() -> None:
    for audio in (b"x", bytes(protocol.MAX_AUDIO_BYTES + 2)):
        with pytest.raises(Refusal):
            protocol.parse_message(audio)
    assert protocol.parse_message('{"type":"interrupt"}') == messages.Interrupt()


@pytest.mark.parametrize("vector", GOLDEN["events"], ids=lambda v: v["event"]["type"])
def test_events_are_written(vector: dict[str, Any]) -> None:
    fields = dict(vector["event"])
    assert protocol.encode_event(EVENTS[fields.pop("type")](**fields)) == vector["wire"]


def test_every_message_has_a_vector() -> None:
    assert {v["message"]["type"] for v in GOLDEN["controls"]} == set(CONTROLS)
    assert {v["event"]["type"] for v in GOLDEN["events"]} == set(EVENTS)


def test_control_messages_are_small_text() -> None:
    with pytest.raises(Refusal, match="at most"):
        protocol.parse_control('{"type":"interrupt"}' + " " * protocol.MAX_CONTROL_BYTES)
    with pytest.raises(Refusal, match="not binary"):
        protocol.parse_control(b'{"type":"interrupt"}')


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_breaks_the_parsers(text: str | bytes) -> None:
    for parse in (
        protocol.parse_control,
        protocol.parse_offer,
        protocol.parse_start,
        protocol.parse_message,
    ):
        try:
            parse(text)  # type: ignore[arg-type]
        except Refusal:
            continue


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=8), st.text())
def test_no_field_breaks_the_parsers(value: Any, name: str) -> None:
    for message in (
        {"type": "gaze", "pitch": value, "yaw": value},
        {"type": value},
        {"type": "ping", "id": value},
    ):
        try:
            protocol.parse_control(json.dumps({**message, name: value}))
        except Refusal:
            continue
