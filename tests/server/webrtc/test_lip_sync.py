"""Sound and image stay together: flash and beep through the chain to a real peer, and an hour on paper."""

import numpy as np
import pytest

from benchmarks.live import lip_sync
from server.live.block import BLOCK_S, BLOCK_SAMPLES, MEDIA_RATE_HZ
from server.live.frame import LiveFrame
from server.live.jitter_buffer import JitterBuffer
from server.live.timeline import MediaTimeline
from server.webrtc.tracks import VIDEO_CLOCK_HZ, AvatarVideoTrack
from tests.steerable_clock import SteerableClock

# A frame shows 40 ms of audio from its own time on; the bounds are EBU R37's for a sender, lead 40 and lag 60 ms.
_LEAD_MS, _LAG_MS = 15, 45
_HARD_LEAD_MS, _HARD_LAG_MS = 40, 60


@pytest.mark.realtime
async def test_flash_and_beep_reach_a_peer_together() -> None:
    for _ in range(3):  # somebody else's work on the machine must not decide
        report = await lip_sync.measure_flash(6.0)
        skew = report["audio_minus_image_ms"]
        if report["flashes"] >= 3 and skew["least"] >= -_HARD_LEAD_MS and skew["most"] <= _HARD_LAG_MS:
            break
    assert report["flashes"] >= 3
    assert -_LEAD_MS <= skew["p50"] <= _LAG_MS
    assert skew["least"] >= -_HARD_LEAD_MS
    assert skew["most"] <= _HARD_LAG_MS
    assert -_HARD_LEAD_MS <= report["by_arrival_ms"]["p50"] <= _HARD_LAG_MS


def test_flash_and_beep_lie_together_in_a_video() -> None:
    report = lip_sync.measure_file(8.0)
    assert report["flashes"] >= 4
    assert report["audio_minus_image_ms"]["least"] >= -_LEAD_MS
    assert report["audio_minus_image_ms"]["most"] <= _LAG_MS


async def test_an_hour_takes_them_less_than_ten_milliseconds_apart() -> None:
    """Frames come sooner and later, so the delay follows them; what is stamped must still be what is heard."""
    clock, jitter_buffer, dice = SteerableClock(), JitterBuffer(), np.random.default_rng(7)
    start_s = clock.now_s()
    timeline = MediaTimeline(start_s, jitter_buffer, delay_blocks=7)
    track = AvatarVideoTrack(timeline, clock)
    rgb = np.zeros((2, 2, 3), np.uint8)
    errors_ms, delays = [], set()
    audio = 0
    for second in range(2, 3602):
        timeline.advance(clock.now_s())
        media_sample = (second - 1) * MEDIA_RATE_HZ // BLOCK_SAMPLES * BLOCK_SAMPLES
        # Twenty frames' worth of slack in one word: now a machine at rest, now a busy one.
        worst_s = float(dice.uniform(0.0, 0.12) if second // 600 % 2 else dice.uniform(0.06, 0.14))
        for _ in range(50):
            timeline.note_frame_ready(media_sample, timeline.departure_s(media_sample) - worst_s + 0.03)
        while timeline.outgoing_due_s(audio) < timeline.departure_s(media_sample):
            timeline.outgoing_audio(audio)
            audio += 1
        delays.add(timeline.delay_blocks)
        track.offer(LiveFrame(rgb, media_sample, timeline.generation))
        frame = await track.recv()
        # At this moment the audio track is at the block that is due: its stamp is its index.
        heard_s = (clock.now_s() - timeline.start_s) / BLOCK_S * BLOCK_SAMPLES / MEDIA_RATE_HZ
        errors_ms.append(1e3 * (frame.pts / VIDEO_CLOCK_HZ - heard_s))
        clock.advance_to(start_s + second)
    assert len(delays) > 2, "the delay was put to use"
    first, last = np.median(errors_ms[:60]), np.median(errors_ms[-60:])
    assert abs(last - first) <= 10
    assert np.abs(errors_ms).max() <= 41
