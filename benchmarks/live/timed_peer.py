"""A WebRTC peer that notes when what it receives was sent and when it arrived.

Every frame is kept with its RTP time stamp and the arrival of the last packet of it. Sender reports tie the time stamps
of both streams to one clock (RFC 3550, section 6.4.1), as any receiver does to keep lips and voice together.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCRtpReceiver
from aiortc.clock import current_ntp_time
from aiortc.rtp import RtcpSrPacket

from benchmarks.signals import find_beeps
from tests.webrtc_peer import BLOCK, RATE_HZ, Caller

_VIDEO_HZ = 90_000


@dataclass(frozen=True, slots=True)
class TimedImage:
    """``time_s`` on the sender's clock, ``arrived_s`` of its last packet, mean grey level."""

    time_s: float
    arrived_s: float
    level: float


@dataclass(frozen=True, slots=True)
class TimedBeep:
    """First sample of a beep: ``time_s`` on the sender's clock, ``arrived_s`` of the packet that holds it."""

    time_s: float
    arrived_s: float


@dataclass
class _Stream:
    """What one receiver gets, by RTP time stamp."""

    rate_hz: int
    arrivals_s: dict[int, float] = field(default_factory=dict)
    reports: list[tuple[float, int]] = field(default_factory=list)
    frames: list[tuple[int, npt.NDArray[Any]]] = field(default_factory=list)

    def time_s(self, timestamp: float) -> float:
        """Sender's clock (Unix seconds) at an RTP time stamp, by the median of its reports."""
        return float(np.median([ntp_s + (timestamp - rtp) / self.rate_hz for ntp_s, rtp in self.reports]))


class TimedPeer(Caller):
    """``connect``, wait, ``hang_up``; then ask for ``images`` and ``beeps``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._streams = {"video": _Stream(_VIDEO_HZ), "audio": _Stream(RATE_HZ)}

    def attach(self, receiver: RTCRtpReceiver) -> None:
        stream = self._streams[receiver.track.kind]
        packets, reports = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

        async def note_packet(packet: Any, arrival_time_ms: int) -> None:
            stream.arrivals_s[packet.timestamp] = time.time()
            await packets(packet, arrival_time_ms)

        async def note_report(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                ntp_s = packet.sender_info.ntp_timestamp / 2**32 - _ntp_offset_s()
                stream.reports.append((ntp_s, packet.sender_info.rtp_timestamp))
            await reports(packet)

        receiver._handle_rtp_packet = note_packet  # type: ignore[method-assign]
        receiver._handle_rtcp_packet = note_report  # type: ignore[method-assign]

    def receive(self, frame: Any, receiver: Any) -> None:
        # aiortc counts time stamps from the first one that it decoded.
        timestamp = (frame.pts + receiver._RTCRtpReceiver__timestamp_mapper._origin) & 0xFFFFFFFF
        if isinstance(frame, av.VideoFrame):
            self._streams["video"].frames.append((timestamp, frame.to_ndarray(format="gray")))
        else:
            self._streams["audio"].frames.append((timestamp, frame.to_ndarray().reshape(-1, 2)[:, 0]))

    def images(self) -> list[TimedImage]:
        """Every frame of video."""
        stream = self._streams["video"]
        return [
            TimedImage(stream.time_s(timestamp), stream.arrivals_s[timestamp], float(grey.mean()))
            for timestamp, grey in stream.frames
            if timestamp in stream.arrivals_s
        ]

    def beeps(self) -> list[TimedBeep]:
        """Every beep in the audio."""
        stream = self._streams["audio"]
        begin = stream.frames[0][0]
        found = []
        for onset in find_beeps(np.concatenate([samples for _, samples in stream.frames])):
            arrived_s = stream.arrivals_s.get((begin + onset // BLOCK * BLOCK) & 0xFFFFFFFF)
            if arrived_s is not None:
                found.append(TimedBeep(stream.time_s(begin + onset), arrived_s))
        return found


def _ntp_offset_s() -> float:
    """From Unix seconds to NTP seconds."""
    return round(current_ntp_time() / 2**32 - time.time())
