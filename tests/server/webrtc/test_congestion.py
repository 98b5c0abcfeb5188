"""The link's controller against links that exist on paper only, and its wiring against a real sender."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from aiortc.clock import current_ntp_time
from aiortc.rtp import RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, pack_remb_fci

from server.webrtc.aiortc_internals import SenderInternals
from server.webrtc.congestion import MAX_BPS, MIN_BPS, START_BPS, CongestionController, LinkReport
from server.webrtc.loss import LossCounter
from server.webrtc.rtcp_feedback import RtcpFeedback, round_trip_s
from server.webrtc.tracks import ViewerTracks
from tests.serving_helper import Served, until

AUDIO_BPS = 110_000


@dataclass
class PaperLink:
    """A bottleneck with a first-in first-out queue without end, or one that throws away what is too much (``polices``);
    a constant trip, and random loss."""

    capacity_bps: float
    trip_s: float = 0.04
    wobble_s: float = 0.0
    lost: float = 0.0
    polices: bool = False
    controller: CongestionController = field(default_factory=lambda: CongestionController(0.0))
    now_s: float = 0.0
    queue_bits: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    sent_bps: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> PaperLink:
        for _ in range(int(seconds * 100)):
            self.now_s += 0.01
            quality = self.controller.quality
            video_bps = 0.0 if self.now_s < quality.hold_until_s else quality.bitrate_bps
            sent_bps = video_bps + AUDIO_BPS
            lost = self.lost
            if self.polices:
                lost = max(lost, 1 - self.capacity_bps / sent_bps)
            else:
                self.queue_bits = max(0.0, self.queue_bits + 0.01 * (sent_bps - self.capacity_bps))
            delay_s = self.queue_bits / self.capacity_bps
            self.delays_s.append(delay_s)
            self.sent_bps.append(sent_bps)
            if round(self.now_s * 100) % 100 == 0:
                trip_s = self.trip_s + delay_s + self.wobble_s * math.sin(2 * self.now_s)
                self.controller.report(LinkReport(now_s=self.now_s, lost=lost, round_trip_s=trip_s))
        return self


def test_a_good_link_gets_the_best_image_in_seconds() -> None:
    link = PaperLink(capacity_bps=10e6)
    assert link.controller.quality.bitrate_bps == START_BPS
    link.run(5)
    quality = link.controller.quality
    assert (quality.bitrate_bps, quality.frame_step, quality.shrink) == (MAX_BPS, 1, 1)
    assert quality.hold_until_s == 0


@pytest.mark.parametrize("capacity_bps", [200e3, 300e3, 400e3, 600e3, 800e3])
def test_latency_stays_under_a_second_on_thin_links(capacity_bps: float) -> None:
    link = PaperLink(capacity_bps=capacity_bps).run(120)
    worst_s = 2.0 if capacity_bps < 250e3 else 1.0
    assert max(link.delays_s[: 10 * 100]) < worst_s
    assert max(link.delays_s[10 * 100 :]) < 1.0
    used = sum(link.sent_bps[3000:]) / len(link.sent_bps[3000:]) / capacity_bps
    assert 0.55 < used <= 1.02


def test_a_link_that_becomes_thin_and_good_again() -> None:
    link = PaperLink(capacity_bps=5e6).run(10)
    link.capacity_bps, before = 400e3, len(link.delays_s)
    link.run(30)
    assert max(link.delays_s[before:]) < 2.0
    assert max(link.delays_s[before + 500 :]) < 1.0
    link.capacity_bps = 5e6
    link.run(40)
    assert link.controller.quality.bitrate_bps == MAX_BPS


@pytest.mark.parametrize("lost", [0.01, 0.05, 0.10, 0.30])
def test_a_line_that_loses_whatever_is_sent_is_not_starved(lost: float) -> None:
    link = PaperLink(capacity_bps=10e6, lost=lost).run(30)
    assert link.controller.quality.bitrate_bps >= (890e3 if lost < 0.05 else START_BPS)
    assert link.controller.quality.frame_step == 1
    link.lost = 0.0
    link.run(40)
    assert link.controller.quality.bitrate_bps == MAX_BPS


@pytest.mark.parametrize("capacity_bps", [250e3, 500e3])
def test_loss_that_goes_with_the_bits_takes_bits(capacity_bps: float) -> None:
    link = PaperLink(capacity_bps=10e6).run(10)
    link.capacity_bps, link.polices = capacity_bps, True
    link.run(60)
    assert 0.4 * capacity_bps < np.mean(link.sent_bps[-3000:]) < 1.1 * capacity_bps


def _full_link() -> PaperLink:
    """One whose queue has just been seen."""
    link = PaperLink(capacity_bps=10e6).run(10)
    link.controller.report(LinkReport(now_s=10.5, lost=None, round_trip_s=0.7))
    assert link.controller.quality.bitrate_bps == MAX_BPS / 2
    return link


def test_bits_go_first_then_frames_then_pixels() -> None:
    link, seen = _full_link(), []
    for limit_bps in (300e3, 120e3, 100e3, 80e3, 60e3):
        link.controller.limit(limit_bps)
        seen.append((link.controller.quality.frame_step, link.controller.quality.shrink))
    assert list(dict.fromkeys(seen)) == [(1, 1), (2, 1), (2, 2)]
    link.controller.limit(MAX_BPS)
    link.run(40)
    assert link.controller.quality.frame_step == link.controller.quality.shrink == 1


def test_losses_are_counted_over_many_packets() -> None:
    counter = LossCounter()
    assert counter.add(0.0, 65_530, 7) is None
    # A report with each of three losses among a hundred packets, as Chromium sends them.
    assert [counter.add(0.2 * n, 65_530 + 15 * n, 7 + (n % 2)) for n in range(1, 4)] == [None] * 3
    assert counter.add(1.3, 65_530 + 100, 10) == pytest.approx(0.03)
    assert counter.add(1.4, 65_530 + 104, 12) is None
    assert counter.add(3.0, 65_530 + 150, 8) == 0.0, "late packets make up for lost ones"
    assert counter.add(4.5, 65_530 + 140, 8) is None, "an old report"
    assert counter.add(6.0, 65_530 + 180, 48) == 1.0


def test_a_longer_way_is_no_queue_for_ever() -> None:
    link = PaperLink(capacity_bps=10e6).run(10)
    link.trip_s = 0.25
    link.run(120)
    assert link.controller.quality.bitrate_bps == MAX_BPS


@pytest.mark.parametrize(("trip_s", "wobble_s"), [(0.3, 0.0), (0.24, 0.04), (0.6, 0.1)])
def test_a_longer_way_is_known_for_one_in_seconds(trip_s: float, wobble_s: float) -> None:
    link = PaperLink(capacity_bps=10e6).run(5)
    link.trip_s, link.wobble_s = trip_s, wobble_s
    for _ in range(12):
        assert link.run(1).controller.quality.frame_step == 1
    link.run(13)
    assert link.controller.quality.bitrate_bps >= (2 * START_BPS if wobble_s else MAX_BPS)


@pytest.mark.parametrize(("side_px", "pixels"), [(256, 1), (512, 1), (1024, 4)])
def test_frames_and_pixels_go_where_bits_no_longer_carry_them(side_px: int, pixels: int) -> None:
    """Borders of frames and pixels: what VP8 takes at least of frames of a size has to fit."""
    controller = CongestionController(0.0, side_px)
    controller.report(LinkReport(now_s=0.0, lost=None, round_trip_s=0.1))
    seen = set()
    for second in range(0, 60, 5):
        controller.silence(float(second))
        quality = controller.quality
        bits = quality.bitrate_bps / pixels
        assert (quality.frame_step, quality.shrink) == (1 + (bits < 110_000), 1 + (bits < 70_000))
        seen.add((quality.frame_step, quality.shrink))
    assert seen == {(1, 1), (2, 1), (2, 2)}


def test_reports_that_stop_are_bad_news() -> None:
    link = PaperLink(capacity_bps=10e6).run(10)
    link.controller.silence(13.0)
    assert link.controller.quality.bitrate_bps == MAX_BPS
    for second in range(14, 60):
        link.controller.silence(float(second))
    assert link.controller.quality.bitrate_bps == MIN_BPS


def test_the_receivers_own_estimate_is_a_limit() -> None:
    link = PaperLink(capacity_bps=10e6).run(5)
    link.controller.limit(250_000)
    assert link.controller.quality.bitrate_bps == 250_000
    link.run(5)
    assert link.controller.quality.bitrate_bps <= 250_000


def test_an_estimate_alone_costs_no_frames() -> None:
    link = PaperLink(capacity_bps=10e6).run(5)
    link.controller.limit(45_000, sent_bps=100_000)
    assert link.controller.quality.frame_step == 1, "jitter looks like a full link to some receivers"
    link = _full_link()
    link.controller.limit(30_000, sent_bps=20_000)
    assert link.controller.quality.frame_step == 1, "it only follows a still picture"
    link.controller.limit(1, sent_bps=20_000)
    assert link.controller.quality.bitrate_bps == MIN_BPS


def test_a_queue_that_an_estimate_has_answered_is_not_answered_again() -> None:
    link = PaperLink(capacity_bps=10e6).run(10)
    link.controller.report(LinkReport(now_s=10.2, lost=0.0, round_trip_s=None))
    link.controller.limit(300_000)
    link.controller.report(LinkReport(now_s=10.5, lost=0.0, round_trip_s=0.6))
    assert link.controller.quality.bitrate_bps == 300_000, "what was measured left before"
    link.controller.report(LinkReport(now_s=11.5, lost=0.0, round_trip_s=0.6))
    assert link.controller.quality.bitrate_bps == 150_000, "it is still there"


def test_round_trips_are_read_from_reports() -> None:
    now = 3_900_000_000 << 32 | 1 << 31
    middle = (now >> 16) & 0xFFFFFFFF
    assert round_trip_s(now, middle - 65536, 32768) == pytest.approx(0.5)
    assert round_trip_s(now, (middle - 3 * 65536) & 0xFFFFFFFF, 0) == pytest.approx(3.0)
    assert round_trip_s(now, 0, 0) is None
    assert round_trip_s(now, (middle + 65536) & 0xFFFFFFFF, 0) is None


def _report(ssrc: int, trip_s: float) -> RtcpRrPacket:
    last_sender_report = ((current_ntp_time() >> 16) - round(65_536 * trip_s)) & 0xFFFFFFFF
    info = RtcpReceiverInfo(ssrc, 0, 0, 1000, 0, last_sender_report, 0)
    return RtcpRrPacket(ssrc=1, reports=[info])


async def test_a_real_sender_follows_its_reports(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    tracks, feedback, video, _ = _link(served)
    assert caller.frames[-1].width == 256
    before_bps = feedback.quality.bitrate_bps
    await video.sender._handle_rtcp_packet(_report(video.ssrc, 0.9))
    assert feedback.quality.bitrate_bps <= 0.5 * before_bps
    estimate = pack_remb_fci(MIN_BPS, [video.ssrc])
    await video.sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=estimate))
    assert (feedback.quality.frame_step, feedback.quality.shrink) == (2, 2)
    assert feedback.quality.bitrate_bps == MIN_BPS
    assert video.encoder is not None
    assert video.encoder.target_bitrate == MIN_BPS * 2.4, "x264 takes 12.5 frames a second for 30"
    await until(lambda: caller.frames[-1].width == 128)
    count = len(caller.frames)
    await until(lambda: len(caller.frames) > count + 5)
    steps = np.diff([frame.pts for frame in caller.frames[count:]])
    assert np.median(steps) == 7200, "every second frame of 25 a second"
    assert tracks.video.thinned > 3
    for fci in (pack_remb_fci(80_000, [video.ssrc]), b"REMB", b"", struct.pack("!L", 9) * 3):
        await video.sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=fci))
    assert feedback.quality.bitrate_bps <= 80_000


async def test_on_a_line_that_loses_packets_each_goes_out_more_than_once(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.frames and caller.sounds)
    tracks, feedback, video, audio = _link(served)
    report, feedback.take_report = feedback.take_report, lambda lost, trip_s: None  # type: ignore[method-assign]
    report(0.3, None)  # those of the real receiver would say that nothing is lost
    assert feedback.quality.copies == 2, "within the bits of the trial"
    assert feedback.quality.audio_copies == 0, "more than was sent before would spoil the trial"
    for _ in range(3):
        report(0.3, None)
    assert (feedback.quality.copies, feedback.quality.audio_copies) == (2, 2)
    counts = {"video": 0, "audio": 0}
    for sender in (video.sender, audio.sender):
        resend = sender._retransmit

        async def count(sequence_number: int, kind: str = sender.kind, resend: Any = resend) -> None:
            counts[kind] += 1
            await resend(sequence_number)

        sender._retransmit = count
    frames, sent = len(caller.frames), tracks.sent
    await until(lambda: len(caller.frames) >= frames + 20)
    assert counts["video"] >= 2 * (tracks.sent - sent - 2)
    assert counts["audio"] >= 2 * 20
    steps = np.diff([frame.pts for frame in caller.frames[frames:]])
    assert (steps > 0).all(), "copies are not shown"


async def test_reports_of_a_real_receiver_arrive(served: Served) -> None:
    caller = await served.caller().connect()
    await until(lambda: caller.frames)
    _, feedback, _, _ = _link(served)
    await until(lambda: feedback.quality.bitrate_bps > START_BPS, 15)
    assert feedback.quality.frame_step == 1
    feedback.sent_bps()
    await until(lambda: feedback.sent_bps())


def _link(served: Served) -> tuple[ViewerTracks, RtcpFeedback, SenderInternals, SenderInternals]:
    """The only viewer's tracks, what its link can carry, and the two senders behind it."""
    session = next(iter(served.server.sessions._places.values()))
    assert session is not None
    (tracks,) = session.sinks
    assert isinstance(tracks, ViewerTracks)
    feedback = tracks.feedback
    assert feedback is not None
    assert feedback.video is not None
    assert feedback.audio is not None
    return tracks, feedback, feedback.video, feedback.audio


def test_larger_frames_may_take_more() -> None:
    small, large = CongestionController(0.0), CongestionController(0.0, 512)
    assert large.quality.bitrate_bps == 2 * small.quality.bitrate_bps == 2 * START_BPS
    for now_s in range(1, 30):
        for controller in (small, large):
            controller.report(LinkReport(now_s=float(now_s), lost=0.0, round_trip_s=0.02))
    assert (small.quality.bitrate_bps, large.quality.bitrate_bps) == (MAX_BPS, 2 * MAX_BPS)
