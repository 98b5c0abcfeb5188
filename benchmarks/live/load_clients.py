"""People who come to a server, look, speak and go, each in a way of their own: real WebRTC peers in this process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from engine.assets import PORTRAIT

Samples = npt.NDArray[np.int16]

_RATE_HZ, _BLOCK = 48_000, 960
_FIRST_FRAME_S = 20.0
WAYS = ("ends", "closes the tab", "vanishes", "plays", "speaks by socket", "brings a picture")


class Refused(Exception):
    """The server said no: ``status`` and its code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status


class VoiceTrack(MediaStreamTrack):
    """A microphone: int16 48 kHz mono, again and again, in real time."""

    kind = "audio"

    def __init__(self, wave: Samples) -> None:
        super().__init__()
        self._wave = wave
        self._sent = 0
        self._start_s = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0.0, self._start_s + self._sent / _RATE_HZ - time.monotonic()))
        block = self._wave.take(range(self._sent, self._sent + _BLOCK), mode="wrap")
        frame = av.AudioFrame.from_ndarray(block.repeat(2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = _RATE_HZ, self._sent, Fraction(1, _RATE_HZ)
        self._sent += _BLOCK
        return frame


class Watcher:
    """One peer connection. Every frame's time stamp (s) and arrival (s) is noted in ``images`` and ``sounds``."""

    def __init__(self, voice: Samples | None) -> None:
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if voice is None:
            self._pc.addTransceiver("audio", direction="recvonly")
        else:
            self._pc.addTrack(VoiceTrack(voice))
        self._pc.addTransceiver("video", direction="recvonly")
        self._tasks: list[asyncio.Task[None]] = []
        self._seen = asyncio.Event()
        self.images: list[tuple[float, float]] = []
        self.sounds: list[tuple[float, float]] = []
        self.session_id = ""
        self.first_frame_ms = float("nan")
        self._pc.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._watch(track))))

    async def connect(self, http: aiohttp.ClientSession, url: str, **more: Any) -> None:
        """Watch over ``/offer``. Raises Refused, TimeoutError."""
        await self._pc.setLocalDescription()
        began_s = time.monotonic()
        body = {"sdp": self._pc.localDescription.sdp, "type": "offer", **more}
        async with http.post(f"{url}offer", json=body) as response:
            answer = await _answer(response)
        self.session_id = answer["session_id"]
        await self._begin(answer["sdp"], began_s)

    async def play(self, http: aiohttp.ClientSession, url: str) -> str:
        """Watch over WHEP; where to end it."""
        await self._pc.setLocalDescription()
        began_s = time.monotonic()
        headers = {"Content-Type": "application/sdp"}
        async with http.post(f"{url}whep", data=self._pc.localDescription.sdp, headers=headers) as response:
            if response.status != 201:
                await _answer(response)
            sdp = await response.text()
            location = response.headers["Location"].lstrip("/")
        await self._begin(sdp, began_s)
        return f"{url}{location}"

    async def close(self) -> None:
        """Say good-bye and go."""
        await self._pc.close()
        await self._end()

    async def vanish(self) -> None:
        """Go without a word, as a dead network does."""
        for transceiver in self._pc.getTransceivers():
            for protocol in transceiver.receiver.transport.transport._connection._protocols:
                protocol.transport.abort()
        await self.close()

    async def _begin(self, sdp: str, began_s: float) -> None:
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        await asyncio.wait_for(self._seen.wait(), _FIRST_FRAME_S)
        self.first_frame_ms = 1e3 * (self.images[0][1] - began_s)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, track: MediaStreamTrack) -> None:
        into = self.images if track.kind == "video" else self.sounds
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                into.append((float(frame.pts * frame.time_base), time.monotonic()))
                if track.kind == "video":
                    self._seen.set()


async def visit(http: aiohttp.ClientSession, url: str, way: str, voice: Samples, stay_s: float) -> float:
    """Come, stay and go in one of WAYS; milliseconds from the offer to the first frame.

    Raises:
        Refused: there was no place. TimeoutError: no image came.
    """
    watcher = Watcher(None if way in ("plays", "speaks by socket") else voice)
    try:
        match way:
            case "plays":
                location = await watcher.play(http, url)
                await asyncio.sleep(stay_s)
                async with http.delete(location):
                    pass
            case "speaks by socket":
                async with http.ws_connect(f"{url}ws") as socket:
                    await socket.send_str('{"type":"start","rate":48000}')
                    started = await socket.receive_json()
                    if started["type"] == "error":
                        raise Refused(503, started["code"])
                    await watcher.connect(http, url, session=started["session_id"])
                    await socket.send_bytes(voice[: int(stay_s * _RATE_HZ / 2)].astype("<i2").tobytes())
                    await asyncio.sleep(stay_s)
            case _:
                more = {"portrait": await _bring(http, url)} if way == "brings a picture" else {}
                await watcher.connect(http, url, **more)
                await asyncio.sleep(stay_s)
                if way == "vanishes":
                    await watcher.vanish()
                elif way != "closes the tab":
                    async with http.delete(f"{url}sessions/{watcher.session_id}"):
                        pass
    finally:
        await watcher.close()
    return watcher.first_frame_ms


async def _bring(http: aiohttp.ClientSession, url: str) -> str:
    headers = {"Content-Type": "image/jpeg"}
    async with http.post(f"{url}portraits?consent=true", data=PORTRAIT.read_bytes(), headers=headers) as response:
        return str((await _answer(response))["portrait_id"])


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await response.json()
    if response.status >= 400:
        raise Refused(response.status, body["error"]["code"])
    return body
