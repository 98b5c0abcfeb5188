"""How images and voices are coded, and in what order a browser is offered them.

Measured on two talking heads at 256x256 and 25 fps (bits asked for and really used, PSNR of RGB, wall time a frame
on one of two CPU cores, aiortc 1.16, av 18.1):

    H.264  500 kbit/s (415 used)  42.8, 43.1 dB  3.5, 4.2 ms     VP8   500 (490)  41.3, 40.5 dB  1.7, 2.7 ms
    H.264 1000 kbit/s (836 used)  43.8, 44.2 dB  3.8, 5.3 ms     VP8  1500 (708)  41.9, 41.2 dB  1.8, 3.0 ms

H.264 with 0.4 Mbit/s beats the best that VP8 gives, so it comes first; a browser without it gets VP8. What is sent
begins in the middle and follows the link (``congestion.py``), down to far below aiortc's own limits.

aiortc tells x264 that 30 frames a second will come, and x264 spends bits by the frame: at 25 it used 0.80 of what it
was asked for, at 12.5 only 0.37, and receivers take the rest for want of room. ``asked_bitrate`` asks for as much more;
0.91 to 0.99 are used then. VP8 goes by time stamps and uses 0.97 to 0.99 as it is.
"""

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs.h264 import H264Encoder

from engine.timebase import FRAME_RATE_HZ
from server.webrtc.aiortc_internals import H264_FRAME_RATE_HZ, BitrateRange, set_bitrates
from server.webrtc.congestion import MAX_BPS, MIN_BPS, MOST_SHARE, START_BPS

_WARM_UP_FRAMES = 3


def configure_codecs() -> None:
    """Set bitrates for small talking heads; encoders that are made later have them."""
    share, most_bps = _frame_share(1), round(MAX_BPS * MOST_SHARE)
    set_bitrates(
        h264_bps=BitrateRange(round(START_BPS * share), round(MIN_BPS * share), round(most_bps * share)),
        vp8_bps=BitrateRange(START_BPS, MIN_BPS, most_bps),
    )


def asked_bitrate(encoder: Any, bitrate_bps: int, frame_step: int) -> int:
    """What to ask ``encoder`` for so that it uses ``bitrate_bps`` on every ``frame_step``-th frame of 25 a second."""
    if isinstance(encoder, H264Encoder):
        return round(bitrate_bps * _frame_share(frame_step))
    return bitrate_bps


def _frame_share(frame_step: int) -> float:
    return H264_FRAME_RATE_HZ * frame_step / FRAME_RATE_HZ


def prefer_video_codecs(transceiver: RTCRtpTransceiver) -> None:
    """H.264 before VP8, each with its retransmission format."""
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    rank = {"video/H264": 0, "video/VP8": 1, "video/rtx": 2}
    wanted = [codec for codec in capabilities if codec.mimeType in rank]
    transceiver.setCodecPreferences(sorted(wanted, key=lambda codec: rank[codec.mimeType]))


def measure_encoder_ms(frames: list[npt.NDArray[np.uint8]], now_s: Callable[[], float] = time.perf_counter) -> float:
    """Median time to encode one of ``frames`` (uint8 (H, W, 3)) as they are sent."""
    encoder = H264Encoder()
    times_ms = []
    for index, rgb in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
        began_s = now_s()
        encoder.encode(frame)
        times_ms.append(1e3 * (now_s() - began_s))
    return float(np.median(times_ms[_WARM_UP_FRAMES:] or times_ms or [0.0]))
