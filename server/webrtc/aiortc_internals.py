"""Every touch of what aiortc and aioice keep to themselves is in this file.

Checked against aiortc 1.16.0 and aioice 0.13.0; the tests of ``server/webrtc`` check whatever is installed. A live
avatar needs what they have no setting for: bitrates for small images, the receiver's reports, packets sent again
unasked, a voice that is not held back, a time limit for silent STUN servers. Where a later version has other names, the
functions here say so (False or None, and a warning), and the server does without.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aioice import Connection
from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.codecs import h264, vpx
from aiortc.codecs.base import Encoder
from aiortc.jitterbuffer import MAX_MISORDER, JitterBuffer, JitterFrame

log = logging.getLogger(__name__)

H264_FRAME_RATE_HZ: float = h264.MAX_FRAME_RATE
"""Frames a second that aiortc announces to x264, whatever is sent."""

_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_RTCP_HANDLER = "_handle_rtcp_packet"
_ENCODER = "_RTCRtpSender__encoder"
_HISTORY, _LAST_TIMESTAMP = "_RTCRtpSender__rtp_history", "_RTCRtpSender__rtp_timestamp"
_RTX_TYPE = "_RTCRtpSender__rtx_payload_type"
_OCTETS = "_RTCRtpSender__octet_count"
_HALF = 1 << 15


class BitrateRange(NamedTuple):
    """Bits a second of a video encoder."""

    start: int
    least: int
    most: int


def set_bitrates(*, h264_bps: BitrateRange, vp8_bps: BitrateRange) -> None:
    """Encoders that are made from now on begin with these bitrates and keep within them."""
    h264.DEFAULT_BITRATE, h264.MIN_BITRATE, h264.MAX_BITRATE = h264_bps
    vpx.DEFAULT_BITRATE, vpx.MIN_BITRATE, vpx.MAX_BITRATE = vp8_bps


def limit_gathering(timeout_s: float) -> bool:
    """Wait no longer than this for STUN and TURN servers that do not answer, in place of five seconds.

    aioice has only the default of one parameter for it. False: that has another shape, and nothing was changed.
    """
    gather = Connection.get_component_candidates
    if gather.__defaults__ is None or len(gather.__defaults__) != 1:
        log.warning("aioice's time limit was not found: servers that do not answer cost five seconds")
        return False
    gather.__defaults__ = (timeout_s,)
    return True


class VoicePackets(JitterBuffer):
    """Takes the place of aiortc's buffer of received audio; every packet leaves as it comes.

    The voice is buffered once more by ``server.live.jitter_buffer``, which adapts. aiortc's own buffer gives a packet
    away when the next one has come, 20 ms later. After a lost one it waits for four more, and from then on it keeps
    three back for as long as the call lasts, as it gives away only one for each that comes.

    Drop policy: a packet that a later one has overtaken is left out.
    """

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self._last: int | None = None
        self.overtaken = 0

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        """The packet's own frame at once, or None; the first value would ask for a whole image, and is False."""
        if self._last is not None:
            behind = (self._last - packet.sequence_number) & 0xFFFF
            # A packet that is far behind is not late: its sender began anew.
            if behind < _HALF and behind < MAX_MISORDER:
                self.overtaken += 1
                return False, None
        self._last = packet.sequence_number
        return False, JitterFrame(data=packet._data, timestamp=packet.timestamp)


def shorten_jitter_buffer(receiver: RTCRtpReceiver) -> bool:
    """Put `VoicePackets` in the place of the receiver's buffer. False: it was not found."""
    if not isinstance(getattr(receiver, _JITTER_BUFFER, None), JitterBuffer):
        log.warning("aiortc's audio jitter buffer was not found: the voice arrives 80 ms later")
        return False
    setattr(receiver, _JITTER_BUFFER, VoicePackets())
    return True


class SenderInternals:
    """What one ``RTCRtpSender`` knows of its stream: reports, encoder, packets that were sent."""

    def __init__(self, sender: RTCRtpSender) -> None:
        self.sender = sender

    @property
    def ssrc(self) -> int:
        """The number of the stream in RTP and RTCP packets."""
        ssrc: int = self.sender._ssrc
        return ssrc

    @property
    def encoder(self) -> Any | None:
        """The video encoder, whose ``target_bitrate`` may be set; None before the first frame."""
        encoder: Encoder | None = getattr(self.sender, _ENCODER, None)
        return encoder if hasattr(encoder, "target_bitrate") else None

    @property
    def octets(self) -> int | None:
        """Bytes of media sent so far; None where they are not counted."""
        return getattr(self.sender, _OCTETS, None)

    @property
    def has_retransmission_format(self) -> bool:
        """Whether packets that are sent again go in a stream of their own (RFC 4588)."""
        return getattr(self.sender, _RTX_TYPE, None) is not None

    def intercept_rtcp(self, handle: Callable[[Any], bool]) -> bool:
        """Call ``handle`` with every RTCP packet; those for which it gives False go on to aiortc.

        False: aiortc's handler was not found, and ``handle`` is never called.
        """
        pass_on: Callable[[Any], Awaitable[None]] | None = getattr(self.sender, _RTCP_HANDLER, None)
        if pass_on is None or not hasattr(self.sender, _ENCODER):
            log.warning("aiortc's reports were not found: the image does not adapt to the link")
            return False

        async def receive(packet: Any) -> None:
            if not handle(packet):
                await pass_on(packet)

        setattr(self.sender, _RTCP_HANDLER, receive)
        return True

    async def resend_last_frame(self, copies: int) -> None:
        """Send the packets of the last frame again, ``copies`` times."""
        timestamp, history = getattr(self.sender, _LAST_TIMESTAMP, None), getattr(self.sender, _HISTORY, {})
        sent = [packet.sequence_number for packet in history.values() if packet.timestamp == timestamp]
        for _ in range(copies):
            for sequence_number in sent:
                await self.sender._retransmit(sequence_number)
