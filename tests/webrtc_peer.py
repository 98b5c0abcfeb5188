"""A WebRTC peer like a browser: a microphone, received video and audio, a control channel. Benchmarks use it too."""

import asyncio
import contextlib
import json
import time
from fractions import Fraction
from typing import Any, Self

import aiohttp
import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

RATE_HZ = 48_000
BLOCK = 960


class VoiceTrack(MediaStreamTrack):
    """A microphone: each block of 20 ms is sent when its last sample has been heard, as a sound card does.

    Args:
        wave: int16 (n,) 48 kHz mono; silence follows.
        speed: 2.0 sends the wave twice as fast as real time.
        repeat: the wave again and again, in place of the silence.
    """

    kind = "audio"

    def __init__(self, wave: npt.NDArray[np.int16] | None = None, speed: float = 1.0, *, repeat: bool = False) -> None:
        super().__init__()
        self._wave = np.zeros(0, np.int16) if wave is None else wave
        self._speed, self._repeat = speed, repeat
        self._sent = 0
        self._start = 0.0
        self.began_s = 0.0
        """Unix time of the first sample."""

    async def recv(self) -> av.AudioFrame:
        if not self._sent:
            self._start, self.began_s = time.monotonic(), time.time()
        end = self._sent + BLOCK
        fast = end if self._repeat else min(end, len(self._wave))
        due = self._start + (fast / self._speed + end - fast) / RATE_HZ
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if self._repeat:
            block = self._wave.take(range(self._sent, self._sent + BLOCK), mode="wrap")
        else:
            block = self._wave[self._sent : self._sent + BLOCK]
            block = np.pad(block, (0, BLOCK - len(block)))
        frame = av.AudioFrame.from_ndarray(block.repeat(2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._sent, Fraction(1, RATE_HZ)
        self._sent += BLOCK
        return frame


class RequestRefused(Exception):
    """The server refused: ``status`` and its error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status


class Caller:
    """One browser, as far as the server can tell.

    Args:
        voice: the microphone; by default a silent one.
        receive_only: without a microphone.
    """

    def __init__(
        self, http: aiohttp.ClientSession, url: str, voice: VoiceTrack | None = None, *, receive_only: bool = False
    ) -> None:
        self.http, self.url, self.voice = http, url.rstrip("/"), voice or VoiceTrack()
        self.frames: list[av.VideoFrame] = []
        self.sounds: list[av.AudioFrame] = []
        self.events: list[dict[str, Any]] = []
        self.session_id = ""
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if receive_only:
            self.pc.addTransceiver("audio", direction="recvonly")
        else:
            self.pc.addTrack(self.voice)
        self.pc.addTransceiver("video", direction="recvonly")
        self.channel = self.pc.createDataChannel("control")
        self.channel.on("message", lambda text: self.events.append(json.loads(text)))
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", self._on_track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        receiver = next(each.receiver for each in self.pc.getTransceivers() if each.receiver.track is track)
        self.attach(receiver)
        self._tasks.append(asyncio.ensure_future(self._collect(track, receiver)))

    async def _collect(self, track: MediaStreamTrack, receiver: RTCRtpReceiver) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                self.receive(await track.recv(), receiver)

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """Called once for each received track, before its first frame."""

    def receive(self, frame: Any, receiver: RTCRtpReceiver) -> None:
        """Called for each decoded frame of video or audio; keeps it."""
        (self.frames if isinstance(frame, av.VideoFrame) else self.sounds).append(frame)

    async def offer(self) -> str:
        """The local SDP, with its candidates."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def post(self, **more: Any) -> tuple[int, dict[str, Any]]:
        """Offer at ``/offer``: the status and body of the answer."""
        body = {"sdp": await self.offer(), "type": "offer", **more}
        async with self.http.post(f"{self.url}/offer", json=body) as response:
            return response.status, await response.json()

    async def connect(self, **more: Any) -> Self:
        """Offer and take the answer. Raises RequestRefused."""
        status, answer = await self.post(**more)
        if status != 200:
            raise RequestRefused(status, answer["error"]["code"])
        self.session_id = answer["session_id"]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return self

    async def hang_up(self) -> None:
        """Close the connection and end all tasks."""
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
