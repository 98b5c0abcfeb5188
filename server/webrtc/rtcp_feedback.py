"""Between a sender of aiortc and the controller of its link: reports in, quality out.

On a line that loses packets whatever is sent, each packet goes out again at once, as a retransmission that nobody asked
for: waiting for the receiver to ask costs a round trip, its question may be lost as well, and for audio it never asks.
Images go as RFC 4588 has it; audio as the same packet once more, of which receivers drop what they have already.

aiortc gives its reports to ``RTCRtpSender._handle_rtcp_packet`` and keeps its encoder to itself; where either has
another name, the image is sent as it is, and a warning says so.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any

from aiortc import RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci

from server.live.clock import Clock
from server.webrtc.codecs import asked_bitrate
from server.webrtc.congestion import CongestionController, LinkReport, Quality
from server.webrtc.loss import LossCounter
from server.webrtc.tracks import AvatarAudioTrack, AvatarVideoTrack

log = logging.getLogger(__name__)

_HANDLER = "_handle_rtcp_packet"
_ENCODER = "_RTCRtpSender__encoder"
_HISTORY, _LAST_TIMESTAMP = "_RTCRtpSender__rtp_history", "_RTCRtpSender__rtp_timestamp"
_RTX_TYPE = "_RTCRtpSender__rtx_payload_type"
_OCTETS = "_RTCRtpSender__octet_count"
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
    """Keeps ``track`` and the encoder behind ``sender`` at what the link can carry; ``audio`` shares the link."""

    def __init__(
        self,
        sender: RTCRtpSender,
        track: AvatarVideoTrack,
        clock: Clock,
        *,
        audio: tuple[RTCRtpSender, AvatarAudioTrack] | None = None,
    ) -> None:
        self._sender = sender
        self._track = track
        self._clock = clock
        self._controller = CongestionController(clock.now_s())
        self._losses = LossCounter()
        self._last_sender_report = 0
        self._octets: deque[tuple[float, int]] = deque()
        self._pass_on: Any = getattr(sender, _HANDLER, None)
        if self._pass_on is None or not hasattr(sender, _ENCODER):
            log.warning("aiortc's reports were not found: the image does not adapt to the link")
            return
        setattr(sender, _HANDLER, self._handle)
        track.on_sent = partial(self._send_copies, sender)
        if audio is not None:
            audio[1].on_sent = partial(self._send_copies, audio[0])

    @property
    def quality(self) -> Quality:
        return self._controller.quality

    def check_silence(self) -> None:
        """Call about once a second."""
        self._controller.silence(self._clock.now_s())
        self._apply()

    async def _handle(self, packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            self._take_estimate(packet)
            return
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == self._sender._ssrc:
                    self._take_report(report)
        await self._pass_on(packet)

    def _take_report(self, report: Any) -> None:
        now_s = self._clock.now_s()
        # Until the receiver has got another report of ours it repeats the same measurement.
        is_new, self._last_sender_report = report.lsr != self._last_sender_report, report.lsr
        self._controller.report(
            LinkReport(
                now_s=now_s,
                lost=self._losses.add(now_s, report.highest_sequence, report.packets_lost),
                round_trip_s=round_trip_s(current_ntp_time(), report.lsr, report.dlsr) if is_new else None,
            )
        )
        self._apply()

    def _take_estimate(self, packet: RtcpPsfbPacket) -> None:
        try:
            bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
        except Exception:  # whatever a stranger's packet makes of it
            return
        if self._sender._ssrc in ssrcs:
            self._controller.limit(bitrate_bps, self._sent_bps())
            self._apply()

    def _sent_bps(self) -> float | None:
        """What the images of the last second or so took."""
        now_s, octets = self._clock.now_s(), getattr(self._sender, _OCTETS, None)
        if octets is None:
            return None
        self._octets.append((now_s, octets))
        while len(self._octets) > 2 and now_s - self._octets[1][0] > _SENT_WINDOW_S:
            self._octets.popleft()
        began_s, before = self._octets[0]
        return 8 * (octets - before) / (now_s - began_s) if now_s > began_s else None

    async def _send_copies(self, sender: RTCRtpSender) -> None:
        """Again, what the last frame was sent in."""
        is_image, quality = sender is self._sender, self._controller.quality
        copies = quality.copies if is_image else quality.audio_copies
        if not copies or (is_image and getattr(sender, _RTX_TYPE, None) is None):
            return
        timestamp, history = getattr(sender, _LAST_TIMESTAMP, None), getattr(sender, _HISTORY, {})
        sent = [packet.sequence_number for packet in history.values() if packet.timestamp == timestamp]
        for _ in range(copies):
            for sequence_number in sent:
                await sender._retransmit(sequence_number)

    def _apply(self) -> None:
        quality = self._controller.quality
        self._track.quality = quality
        encoder = getattr(self._sender, _ENCODER, None)
        if encoder is not None and hasattr(encoder, "target_bitrate"):
            image_bps = quality.bitrate_bps // (1 + quality.copies)
            encoder.target_bitrate = asked_bitrate(encoder, image_bps, quality.frame_step)
