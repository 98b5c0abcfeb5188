"""Motion on the wire, against the vectors that the JavaScript tests read too."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.animator.mesh.rig import Rig
from engine.animator.mesh.vertices import RigTables, move
from server.live.messages import MotionFrame, Refusal
from server.protocol import MOTION_RANGES, encode_motion, parse_motion
from tests.golden.make_rig import GOLDEN, motions

VECTORS: dict[str, Any] = json.loads((GOLDEN / "protocol.json").read_text("utf-8"))
FRAMES_PER_S = 25


def _by_name(vector: dict[str, Any]) -> str:
    return vector["name"]


def _frame(fields: dict[str, Any]) -> MotionFrame:
    return MotionFrame(**{**fields, "descriptor": np.array(fields["descriptor"], np.float32)})


def _same(one: MotionFrame, other: MotionFrame) -> bool:
    named = [(frame.index, frame.pts_samples, frame.generation) for frame in (one, other)]
    return named[0] == named[1] and np.allclose(one.descriptor, other.descriptor, atol=1e-6)


@pytest.mark.parametrize("vector", VECTORS["motions"], ids=_by_name)
def test_motion_is_written_and_read(vector: dict[str, Any]) -> None:
    frames = [_frame(fields) for fields in vector["frames"]]
    wire = bytes.fromhex(vector["wire"])
    assert encode_motion(*reversed(frames)) == wire
    assert len(parse_motion(wire)) == len(frames)
    assert all(map(_same, parse_motion(wire), frames))


@pytest.mark.parametrize("vector", VECTORS["bad_motions"], ids=_by_name)
def test_bad_motion_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        parse_motion(bytes.fromhex(vector["wire"]))
    assert caught.value.code == "bad_message"


def test_rounding_moves_no_landmark_by_a_quarter_of_a_pixel() -> None:
    rig = Rig.load(GOLDEN / "rig")
    sent = motions(rig.rest_descriptor)
    received = np.stack([parse_motion(encode_motion(MotionFrame(0, 0, 0, row)))[0].descriptor for row in sent])
    tables = RigTables.stack([RigTables.of(rig)] * len(sent))
    before, after = (move(tables, torch.from_numpy(rows)).positions_BV2 for rows in (sent, received))
    error_px = float((before - after).norm(dim=-1).max()) * 512 / rig.size_px
    assert error_px < 0.1


def test_motion_takes_less_than_8_kilobytes_a_second() -> None:
    before = MotionFrame(1, 1920, 0, np.zeros(72, np.float32))
    message = encode_motion(MotionFrame(2, 3840, 0, np.ones(72, np.float32)), before)
    assert len(parse_motion(message)) == 2
    assert FRAMES_PER_S * len(message) <= 8000


def test_only_the_frame_just_before_is_repeated() -> None:
    frame = MotionFrame(5, 9600, 1, np.zeros(72, np.float32))
    before = dataclasses.replace(frame, index=4, pts_samples=7680)
    assert [each.index for each in parse_motion(encode_motion(frame, before))] == [4, 5]
    for changes in ({"index": 3}, {"generation": 0}, {"pts_samples": 9600}, {"pts_samples": -60_000}):
        assert len(parse_motion(encode_motion(frame, dataclasses.replace(before, **changes)))) == 1


def test_values_beyond_the_ranges_are_sent_as_their_ends() -> None:
    for sign in (-1, 1):
        far = MotionFrame(0, 0, 0, (sign * 1.5 * MOTION_RANGES).astype(np.float32))
        np.testing.assert_allclose(parse_motion(encode_motion(far))[0].descriptor, sign * MOTION_RANGES, rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"descriptor": np.zeros(71, np.float32)},
        {"descriptor": np.full(72, np.nan, np.float32)},
        {"descriptor": np.full(72, np.inf, np.float32)},
        {"index": -1},
        {"generation": 2**32},
        {"pts_samples": -1},
        {"pts_samples": 2**53},
    ],
)
def test_what_is_no_motion_is_not_written(changes: dict[str, Any]) -> None:
    frame = MotionFrame(0, 0, 0, np.zeros(72, np.float32))
    with pytest.raises(ValueError, match=r"motion|time|descriptor"):
        encode_motion(dataclasses.replace(frame, **changes))


_HEADS = st.sampled_from([b"\1\1\0\0", b"\1\2\7\0", b"\1\2\0\0", b"\2\1\0\0", b"\1\0\0\0"])
_BODIES = st.sampled_from([144, 288, 143]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@given(st.binary(max_size=400) | st.tuples(_HEADS, st.binary(min_size=16, max_size=16), _BODIES).map(b"".join))
def test_no_bytes_break_the_parser(message: bytes) -> None:
    try:
        frames = parse_motion(message)
    except Refusal:
        return
    again = parse_motion(encode_motion(*reversed(frames)))
    assert len(again) == len(frames)
    for frame, same in zip(frames, again, strict=True):
        assert (frame.index, frame.pts_samples, frame.generation) == (same.index, same.pts_samples, same.generation)
        np.testing.assert_allclose(frame.descriptor, same.descriptor, atol=1e-3)
