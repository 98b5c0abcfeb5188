"""Clients that come to a server, watch, speak and leave, each in its own way: real WebRTC peers in this process."""

import asyncio
import contextlib
import time
from typing import Any

import aiohttp
import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCSessionDescription

from engine.assets import PORTRAIT
from tests.webrtc_peer import RATE_HZ, Caller, RequestRefused, VoiceTrack

Samples = npt.NDArray[np.int16]

VISITS = (
    "ends the session", "closes the tab", "vanishes", "plays by WHEP", "speaks by WebSocket", "uploads a portrait"
)  # fmt: skip
_FIRST_FRAME_S = 20.0


class Viewer(Caller):
    """A peer that notes time stamp (s) and arrival (s) of every frame, in ``images`` and ``audio``.

    Args:
        voice: int16 at 48 kHz, spoken again and again; None only receives.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, voice: Samples | None) -> None:
        super().__init__(http, url, VoiceTrack(voice, repeat=True), receive_only=voice is None)
        self._first_frame = asyncio.Event()
        self.images: list[tuple[float, float]] = []
        self.audio: list[tuple[float, float]] = []

    def receive(self, frame: Any, receiver: Any) -> None:
        noted = (float(frame.pts * frame.time_base), time.monotonic())
        if isinstance(frame, av.VideoFrame):
            self.images.append(noted)
            self._first_frame.set()
        else:
            self.audio.append(noted)

    async def watch(self, **more: Any) -> float:
        """Connect at ``/offer``; milliseconds from there to the first frame. Raises RequestRefused, TimeoutError."""
        began_s = time.monotonic()
        await self.connect(**more)
        return await self._first_frame_ms(began_s)

    async def play(self) -> tuple[float, str]:
        """Connect by WHEP; milliseconds as `watch`, and the address to delete. Raises RequestRefused, TimeoutError."""
        began_s = time.monotonic()
        headers = {"Content-Type": "application/sdp"}
        async with self.http.post(f"{self.url}/whep", data=await self.offer(), headers=headers) as response:
            if response.status != 201:
                await _body(response)
            answer, location = await response.text(), response.headers["Location"]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return await self._first_frame_ms(began_s), f"{self.url}/{location.lstrip('/')}"

    async def vanish(self) -> None:
        """Leave without a word, as a dead network does."""
        for transceiver in self.pc.getTransceivers():
            for protocol in transceiver.receiver.transport.transport._connection._protocols:
                protocol.transport.abort()
        await self.hang_up()

    async def _first_frame_ms(self, began_s: float) -> float:
        await asyncio.wait_for(self._first_frame.wait(), _FIRST_FRAME_S)
        return 1e3 * (self.images[0][1] - began_s)


async def visit(http: aiohttp.ClientSession, url: str, kind: str, voice: Samples, stay_s: float) -> float:
    """Come, stay and leave in one of the ways of `VISITS`; milliseconds from the offer to the first frame.

    Raises:
        RequestRefused: the server had no place. TimeoutError: no frame came.
    """
    speaks = kind not in ("plays by WHEP", "speaks by WebSocket")
    viewer = Viewer(http, url, voice if speaks else None)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(viewer.hang_up)
        session = f"{viewer.url}/sessions/"
        match kind:
            case "plays by WHEP":
                first_ms, session = await viewer.play()
            case "speaks by WebSocket":
                socket = await stack.enter_async_context(http.ws_connect(f"{viewer.url}/ws"))
                await socket.send_str('{"type":"start","rate":48000}')
                started = await socket.receive_json()
                if started["type"] == "error":
                    raise RequestRefused(503, started["code"])
                first_ms = await viewer.watch(session=started["session_id"])
                await socket.send_bytes(voice[: int(stay_s * RATE_HZ / 2)].astype("<i2").tobytes())
            case "uploads a portrait":
                first_ms = await viewer.watch(portrait=await _upload(viewer))
            case _:
                first_ms = await viewer.watch()
        await asyncio.sleep(stay_s)
        if kind == "vanishes":
            await viewer.vanish()
        elif kind not in ("closes the tab", "speaks by WebSocket"):
            async with http.delete(f"{session}{viewer.session_id}"):
                pass
    return first_ms


async def _upload(viewer: Viewer) -> str:
    address, headers = f"{viewer.url}/portraits?consent=true", {"Content-Type": "image/jpeg"}
    async with viewer.http.post(address, data=PORTRAIT.read_bytes(), headers=headers) as response:
        return str((await _body(response))["portrait_id"])


async def _body(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await response.json()
    if response.status >= 400:
        raise RequestRefused(response.status, body["error"]["code"])
    return body
