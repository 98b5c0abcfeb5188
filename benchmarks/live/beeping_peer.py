"""A real WebRTC peer that beeps into its microphone and notes when it gets the beep and the image of it back.

A beep is a tenth of a second of tone, one about every second, at places that fall anywhere within a frame of 40 ms
and a block of 20 ms. What comes back is noted with the RTP time stamp and the moment of arrival of each packet; sender
reports tie the two streams' time stamps to one clock (RFC 3550, section 6.4.1), as any receiver does for lip sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.clock import current_ntp_time
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtcpSrPacket

RATE_HZ, _BLOCK = 48_000, 960
_VIDEO_HZ = 90_000
_BEEP_S = 0.1
_LEVEL = 0.8
_LOUD = 0.3

Samples = npt.NDArray[np.int16]


def beeping_wave(seconds: float, seed: int = 0) -> tuple[Samples, list[float]]:
    """Int16 (n,) at 48 kHz, and where in it (s) each beep begins."""
    dice = np.random.default_rng(seed)
    wave = np.zeros(round(seconds * RATE_HZ), np.int16)
    onsets_s = []
    at_s = 1.5
    while at_s + _BEEP_S < seconds:
        begin = round(at_s * RATE_HZ)
        time_s = np.arange(round(_BEEP_S * RATE_HZ)) / RATE_HZ
        wave[begin : begin + len(time_s)] = 32767 * _LEVEL * np.sin(2 * np.pi * 500 * time_s + np.pi / 2)
        onsets_s.append(begin / RATE_HZ)
        at_s += float(dice.uniform(0.8, 1.2))
    return wave, onsets_s


class _Microphone(MediaStreamTrack):
    """Sends each block when its last sample has been heard, as a sound card does."""

    kind = "audio"

    def __init__(self, wave: Samples) -> None:
        super().__init__()
        self._wave, self._sent = wave, 0
        self.began_s: float | None = None

    async def recv(self) -> av.AudioFrame:
        if self.began_s is None:
            self.began_s = time.time()
        due_s = self.began_s + (self._sent + _BLOCK) / RATE_HZ
        await asyncio.sleep(max(0.0, due_s - time.time()))
        block = self._wave[self._sent : self._sent + _BLOCK]
        block = np.pad(block, (0, _BLOCK - len(block)))
        frame = av.AudioFrame.from_ndarray(block.repeat(2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._sent, Fraction(1, RATE_HZ)
        self._sent += _BLOCK
        return frame


@dataclass(frozen=True, slots=True)
class Seen:
    """An image: its ``time_s`` on the sender's clock, the arrival of its last packet, its mean grey level."""

    time_s: float
    arrived_s: float
    level: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A beep's first sample: its ``time_s`` on the sender's clock, and the arrival of the packet that holds it."""

    time_s: float
    arrived_s: float


@dataclass
class _Stream:
    """What one receiver gets, by RTP time stamp."""

    rate_hz: int
    arrivals_s: dict[int, float] = field(default_factory=dict)
    reports: list[tuple[float, int]] = field(default_factory=list)
    frames: list[tuple[int, Any]] = field(default_factory=list)

    def attach(self, receiver: RTCRtpReceiver) -> None:
        packets, reports = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

        async def note_packet(packet: Any, arrival_time_ms: int) -> None:
            self.arrivals_s[packet.timestamp] = time.time()
            await packets(packet, arrival_time_ms)

        async def note_report(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                ntp_s = packet.sender_info.ntp_timestamp / 2**32 - _ntp_offset_s()
                self.reports.append((ntp_s, packet.sender_info.rtp_timestamp))
            await reports(packet)

        receiver._handle_rtp_packet, receiver._handle_rtcp_packet = note_packet, note_report

    def time_s(self, timestamp: float) -> float:
        """Sender's clock (Unix seconds) at an RTP time stamp, by the median of its reports."""
        return float(np.median([ntp_s + (timestamp - rtp) / self.rate_hz for ntp_s, rtp in self.reports]))


class BeepingPeer:
    """``connect``, wait, ``close``; then ``seen``, ``heard``, and ``told``: the server's events."""

    def __init__(self, wave: Samples) -> None:
        self.microphone = _Microphone(wave)
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._pc.addTrack(self.microphone)
        self._pc.addTransceiver("video", direction="recvonly")
        self._streams = {"video": _Stream(_VIDEO_HZ), "audio": _Stream(RATE_HZ)}
        self._tasks: list[asyncio.Task[None]] = []
        self._pc.on("track", self._on_track)
        self.session_id = ""
        self.told: list[dict[str, Any]] = []
        self._pc.createDataChannel("control").on("message", lambda text: self.told.append(json.loads(text)))

    async def connect(self, http: aiohttp.ClientSession, url: str) -> None:
        await self._pc.setLocalDescription()
        body = {"sdp": self._pc.localDescription.sdp, "type": "offer"}
        async with http.post(f"{url.rstrip('/')}/offer", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
        self.session_id = answer["session_id"]
        await self._pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    async def close(self) -> None:
        await self._pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        receiver = next(t.receiver for t in self._pc.getTransceivers() if t.receiver.track is track)
        stream = self._streams[track.kind]
        stream.attach(receiver)
        self._tasks.append(asyncio.ensure_future(self._collect(track, stream, receiver)))

    async def _collect(self, track: MediaStreamTrack, stream: _Stream, receiver: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                # aiortc counts time stamps from the first one that it decoded.
                first = receiver._RTCRtpReceiver__timestamp_mapper._origin
                timestamp = (frame.pts + first) & 0xFFFFFFFF
                if isinstance(frame, av.VideoFrame):
                    stream.frames.append((timestamp, frame.to_ndarray(format="gray")))
                elif isinstance(frame, av.AudioFrame):
                    stream.frames.append((timestamp, frame.to_ndarray().reshape(-1, 2)[:, 0]))

    def images(self) -> list[tuple[float, float, npt.NDArray[np.uint8]]]:
        """(time on the sender's clock, arrival, grey image) of every frame."""
        stream = self._streams["video"]
        return [
            (stream.time_s(timestamp), stream.arrivals_s[timestamp], grey)
            for timestamp, grey in stream.frames
            if timestamp in stream.arrivals_s
        ]

    def seen(self) -> list[Seen]:
        return [Seen(when, arrived, float(grey.mean())) for when, arrived, grey in self.images()]

    def audio(self) -> tuple[float, npt.NDArray[np.float32]]:
        """When it begins on the sender's clock, and all of it, mono float at 48 kHz."""
        stream = self._streams["audio"]
        wave = np.concatenate([samples for _, samples in stream.frames]).astype(np.float32) / 32768
        return stream.time_s(stream.frames[0][0]), wave

    def heard(self) -> list[Heard]:
        stream = self._streams["audio"]
        wave = np.concatenate([samples for _, samples in stream.frames])
        found = []
        for onset in find_beeps(wave):
            timestamp = stream.frames[0][0] + onset
            holding = stream.frames[0][0] + onset // _BLOCK * _BLOCK
            arrived_s = stream.arrivals_s.get(holding & 0xFFFFFFFF)
            if arrived_s is not None:
                found.append(Heard(stream.time_s(timestamp), arrived_s))
        return found


def find_beeps(wave: npt.NDArray[np.int16]) -> list[int]:
    """The first sample of each beep."""
    loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > _LOUD * 32767)
    if not len(loud):
        return []
    return [int(at) for at in loud[np.concatenate([[True], np.diff(loud) > RATE_HZ // 5])]]


def _ntp_offset_s() -> float:
    """From Unix seconds to NTP seconds."""
    return round(current_ntp_time() / 2**32 - time.time())
