"""How images and voices are coded, where aiortc has only module constants to say it with.

Measured on two talking heads at 256x256 and 25 fps (bits asked for and really used, PSNR of RGB, wall time a frame
on one of two CPU cores, aiortc 1.16, av 18.1):

    H.264  500 kbit/s (415 used)  42.8, 43.1 dB  3.5, 4.2 ms     VP8   500 (490)  41.3, 40.5 dB  1.7, 2.7 ms
    H.264 1000 kbit/s (836 used)  43.8, 44.2 dB  3.8, 5.3 ms     VP8  1500 (708)  41.9, 41.2 dB  1.8, 3.0 ms

H.264 with 0.4 Mbit/s beats the best that VP8 gives, so it comes first; a browser without it gets VP8. What is sent
begins in the middle and follows the link (``adaptation.py``), down to far below aiortc's own limits.

aiortc tells x264 that 30 frames a second will come, and x264 spends bits by the frame: at 25 it used 0.80 of what it
was asked for, at 12.5 only 0.37, and receivers take the rest for want of room. ``asked_bitrate`` asks for as much more;
0.91 to 0.99 are used then. VP8 goes by time stamps and uses 0.97 to 0.99 as it is.
"""

from __future__ import annotations

import logging
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs import h264, vpx
from aiortc.jitterbuffer import JitterBuffer

from engine.timebase import FRAME_RATE_HZ
from server.webrtc.congestion import MAX_BPS, MIN_BPS, START_BPS
from server.webrtc.voice_packets import VoicePackets

log = logging.getLogger(__name__)

_JITTER_BUFFER_ATTRIBUTE = "_RTCRtpReceiver__jitter_buffer"


def configure_codecs() -> None:
    """Set bitrates (bit/s) for small talking heads; aiortc reads these constants when it makes an encoder."""
    h264.DEFAULT_BITRATE, h264.MIN_BITRATE, h264.MAX_BITRATE = (
        round(bps * _frame_share(1)) for bps in (START_BPS, MIN_BPS, MAX_BPS)
    )
    vpx.DEFAULT_BITRATE, vpx.MIN_BITRATE, vpx.MAX_BITRATE = START_BPS, MIN_BPS, MAX_BPS


def asked_bitrate(encoder: Any, bitrate_bps: int, frame_step: int) -> int:
    """What to ask ``encoder`` for so that it uses ``bitrate_bps`` on every ``frame_step``-th frame of 25 a second."""
    if isinstance(encoder, h264.H264Encoder):
        return round(bitrate_bps * _frame_share(frame_step))
    return bitrate_bps


def _frame_share(frame_step: int) -> float:
    return h264.MAX_FRAME_RATE * frame_step / FRAME_RATE_HZ


def prefer_video_codecs(transceiver: RTCRtpTransceiver) -> None:
    """H.264 before VP8, each with its retransmission format."""
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    rank = {"video/H264": 0, "video/VP8": 1, "video/rtx": 2}
    wanted = [codec for codec in capabilities if codec.mimeType in rank]
    transceiver.setCodecPreferences(sorted(wanted, key=lambda codec: rank[codec.mimeType]))


def shorten_jitter_buffer(receiver: RTCRtpReceiver) -> bool:
    """Let voice packets through as they come (``VoicePackets``).

    The voice is buffered once more by ``JitterBuffer``, which adapts; aiortc's buffer would only add 80 ms. It has no
    setting for it; where its attribute has another name, its own buffer stays and False is returned.
    """
    if not isinstance(getattr(receiver, _JITTER_BUFFER_ATTRIBUTE, None), JitterBuffer):
        log.warning("aiortc's audio jitter buffer was not found: the voice arrives 80 ms later")
        return False
    setattr(receiver, _JITTER_BUFFER_ATTRIBUTE, VoicePackets())
    return True
