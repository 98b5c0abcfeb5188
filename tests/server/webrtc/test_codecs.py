"""Encoders use the bits that they are given, at every rate of frames."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.codecs import h264, vpx
from aiortc.codecs.base import Encoder

from server.webrtc.codecs import asked_bitrate, configure_codecs, measure_encoder_ms
from server.webrtc.congestion import MAX_BPS, MIN_BPS


@pytest.fixture
def configured() -> Iterator[None]:
    names = ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE")
    before = {module: [getattr(module, name) for name in names] for module in (h264, vpx)}
    configure_codecs()
    yield
    for module, values in before.items():
        for name, value in zip(names, values, strict=True):
            setattr(module, name, value)


def _used_bps(encoder: Encoder, frame_step: int, seconds: int = 4) -> float:
    """Bits a second that a moving image with some noise takes."""
    dice, bits = np.random.default_rng(1), 0
    noise = dice.integers(0, 40, (128, 128, 3)).astype(np.uint8)
    for number in range(0, 25 * seconds, frame_step):
        frame = av.VideoFrame.from_ndarray(np.roll(noise, 3 * number, axis=1) + 90, format="rgb24")
        frame.pts, frame.time_base = 3600 * number, Fraction(1, 90_000)
        bits += 8 * sum(len(payload) for payload in encoder.encode(frame)[0])
    return bits / seconds


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("frame_step", [1, 2])
@pytest.mark.parametrize("encoder_type", [h264.H264Encoder, vpx.Vp8Encoder])
def test_an_encoder_uses_what_it_is_given(encoder_type: type[Encoder], frame_step: int) -> None:
    encoder = encoder_type()
    encoder.target_bitrate = asked_bitrate(encoder, 200_000, frame_step)  # type: ignore[attr-defined]
    assert 0.75 * 200_000 < _used_bps(encoder, frame_step) < 1.3 * 200_000


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("encoder_type", [h264.H264Encoder, vpx.Vp8Encoder])
def test_aiortcs_own_bounds_do_not_stop_ours(encoder_type: type[Encoder]) -> None:
    for bitrate_bps in (MIN_BPS, MAX_BPS):
        encoder = encoder_type()
        asked = asked_bitrate(encoder, bitrate_bps, 1)
        encoder.target_bitrate = asked  # type: ignore[attr-defined]
        assert encoder.target_bitrate == asked  # type: ignore[attr-defined]


def test_the_encoder_is_measured() -> None:
    dice = np.random.default_rng(0)
    frames = [dice.integers(0, 256, (256, 256, 3), dtype=np.uint8) for _ in range(8)]
    assert 0.1 < measure_encoder_ms(frames) < 500
    assert measure_encoder_ms([]) == 0.0
