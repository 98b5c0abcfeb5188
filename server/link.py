"""Between a sender of aiortc and the controller of its link: reports in, quality out.

aiortc gives its reports to ``RTCRtpSender._handle_rtcp_packet`` and keeps its encoder to itself; where either has
another name, the picture is sent as it is, and a warning says so.
"""

from __future__ import annotations

import logging
from typing import Any

from aiortc import RTCRtpSender
from aiortc.clock import current_ntp_time
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci

from server.adaptation import LinkController, LinkReport, Quality
from server.clock import Clock
from server.tracks import AvatarVideoTrack

__all__ = ["AdaptedSender", "round_trip_s"]

log = logging.getLogger(__name__)

_HANDLER = "_handle_rtcp_packet"
_ENCODER = "_RTCRtpSender__encoder"
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


class AdaptedSender:
    """Keeps ``track`` and the encoder behind ``sender`` at what the link can carry."""

    def __init__(self, sender: RTCRtpSender, track: AvatarVideoTrack, clock: Clock) -> None:
        self._sender = sender
        self._track = track
        self._clock = clock
        self._controller = LinkController(clock.now_s())
        self._pass_on: Any = getattr(sender, _HANDLER, None)
        if self._pass_on is None or not hasattr(sender, _ENCODER):
            log.warning("aiortc's reports were not found: the picture does not adapt to the link")
            return
        setattr(sender, _HANDLER, self._handle)

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
        self._controller.report(
            LinkReport(
                now_s=self._clock.now_s(),
                fraction_lost=report.fraction_lost / 256,
                round_trip_s=round_trip_s(current_ntp_time(), report.lsr, report.dlsr),
            )
        )
        self._apply()

    def _take_estimate(self, packet: RtcpPsfbPacket) -> None:
        try:
            bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
        except Exception:  # whatever a stranger's packet makes of it
            return
        if self._sender._ssrc in ssrcs:
            self._controller.limit(bitrate_bps)
            self._apply()

    def _apply(self) -> None:
        quality = self._controller.quality
        self._track.quality = quality
        encoder = getattr(self._sender, _ENCODER, None)
        if encoder is not None and hasattr(encoder, "target_bitrate"):
            encoder.target_bitrate = quality.bitrate_bps
