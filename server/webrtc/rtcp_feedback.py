"""Between a sender of aiortc and the controller of its link: receiver reports in, quality out.

On a line that loses packets whatever is sent, each packet goes out again at once, as a retransmission that nobody asked
for: waiting for the receiver to ask costs a round trip, its question may be lost as well, and for audio it never asks.
Images go as RFC 4588 has it; audio as the same packet once more, of which receivers drop what they have already.
"""

from collections import deque
from typing import Any

from aiortc import RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci

from server.live.clock import Clock
from server.webrtc.aiortc_internals import SenderInternals
from server.webrtc.codecs import asked_bitrate
from server.webrtc.congestion import CongestionController, LinkReport, Quality
from server.webrtc.loss import LossCounter

_SENT_WINDOW_S = 1.0
_MIDDLE_HZ = 65_536
_MAX_ROUND_TRIP_S = 60.0


def round_trip_s(now_ntp: int, lsr: int, dlsr: int) -> float | None:
    """The round trip that a report block tells (RFC 3550, section 6.4.1); None where it cannot.

    Args:
        now_ntp: this moment as a 64-bit NTP time stamp.
        lsr, dlsr: time stamp of the last sender report, and the time since it came, in 1/65536 s.
    """
    if lsr == 0:
        return None
    elapsed = (((now_ntp >> 16) & 0xFFFFFFFF) - lsr - dlsr) & 0xFFFFFFFF
    seconds = elapsed / _MIDDLE_HZ
    return seconds if seconds < _MAX_ROUND_TRIP_S else None


class RtcpFeedback:
    """What one viewer's link can carry. Tracks ask for ``quality``; ``attach`` gives it the senders to learn from."""

    def __init__(self, clock: Clock, side_px: float = 256) -> None:
        """``side_px``: of the frames that are sent."""
        self._clock = clock
        self._controller = CongestionController(clock.now_s(), side_px)
        self._losses = LossCounter()
        self._last_sender_report = 0
        self._octets: deque[tuple[float, int]] = deque()
        self.video: SenderInternals | None = None
        self.audio: SenderInternals | None = None

    @property
    def quality(self) -> Quality:
        return self._controller.quality

    def attach(self, video: RTCRtpSender, audio: RTCRtpSender | None) -> None:
        """Follow the reports about ``video``; ``audio`` shares the link."""
        sender = SenderInternals(video)
        if sender.intercept_rtcp(self._receive):
            self.video = sender
            self.audio = None if audio is None else SenderInternals(audio)

    def check_silence(self) -> None:
        """Call about once a second."""
        self._controller.silence(self._clock.now_s())
        self._apply()

    async def resend_image(self) -> None:
        """Send the last image again, as often as the line's losses ask for."""
        if self.video is not None and self.quality.copies and self.video.has_retransmission_format:
            await self.video.resend_last_frame(self.quality.copies)

    async def resend_audio(self) -> None:
        """As ``resend_image``, for the last 20 ms of audio."""
        if self.audio is not None and self.quality.audio_copies:
            await self.audio.resend_last_frame(self.quality.audio_copies)

    def take_report(self, lost: float | None, trip_s: float | None) -> None:
        """Learn the share of ``lost`` packets and a round trip; None where that is not new."""
        self._controller.report(LinkReport(now_s=self._clock.now_s(), lost=lost, round_trip_s=trip_s))
        self._apply()

    def _receive(self, packet: Any) -> bool:
        """Whether nobody else need see the packet: aiortc would set the bitrate to the receiver's estimate."""
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            self._take_estimate(packet)
            return True
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if self.video is not None and report.ssrc == self.video.ssrc:
                    self._take_block(report)
        return False

    def _take_block(self, report: Any) -> None:
        # Until the receiver has got another report of ours it repeats the same measurement.
        is_new, self._last_sender_report = report.lsr != self._last_sender_report, report.lsr
        lost = self._losses.add(self._clock.now_s(), report.highest_sequence, report.packets_lost)
        self.take_report(lost, round_trip_s(current_ntp_time(), report.lsr, report.dlsr) if is_new else None)

    def _take_estimate(self, packet: RtcpPsfbPacket) -> None:
        try:
            bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
        except Exception:  # whatever a stranger's packet makes of it
            return
        if self.video is not None and self.video.ssrc in ssrcs:
            self._controller.limit(bitrate_bps, self.sent_bps())
            self._apply()

    def sent_bps(self) -> float | None:
        """What the images took since an earlier call, about a second ago; None at the first."""
        now_s, octets = self._clock.now_s(), None if self.video is None else self.video.octets
        if octets is None:
            return None
        self._octets.append((now_s, octets))
        while len(self._octets) > 2 and now_s - self._octets[1][0] > _SENT_WINDOW_S:
            self._octets.popleft()
        began_s, before = self._octets[0]
        return 8 * (octets - before) / (now_s - began_s) if now_s > began_s else None

    def _apply(self) -> None:
        encoder = None if self.video is None else self.video.encoder
        if encoder is not None:
            quality = self.quality
            image_bps = quality.bitrate_bps // (1 + quality.copies)
            encoder.target_bitrate = asked_bitrate(encoder, image_bps, quality.frame_step)
