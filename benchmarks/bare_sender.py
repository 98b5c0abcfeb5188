"""What anyone gets from aiortc alone: a film played to whoever posts an offer, with nothing that listens to the link.

    python benchmarks/bare_sender.py FILM.mp4 --host 10.77.0.1 --port 8081

Two plain tracks, paced by the clock, with aiortc's own codecs, bitrates and answers to its receivers' reports.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

__all__ = ["Film"]

_RATE_HZ, _BLOCK = 48_000, 960


class Film:
    """The frames and the sound of a file, decoded once."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
            assert rate is not None
            self.rate = float(rate)
            self.frames = [frame.reformat(format="yuv420p") for frame in container.decode(video=0)]
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="stereo", rate=_RATE_HZ)
            parts = [
                part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)
            ]
        self.sound = np.concatenate(parts, axis=1).reshape(-1, 2)


class _Clock:
    def __init__(self) -> None:
        self._start_s = time.monotonic()

    async def until(self, moment_s: float) -> None:
        await asyncio.sleep(max(0.0, self._start_s + moment_s - time.monotonic()))


class _Picture(MediaStreamTrack):
    kind = "video"

    def __init__(self, film: Film, clock: _Clock) -> None:
        super().__init__()
        self._film, self._clock, self._count = film, clock, 0

    async def recv(self) -> av.VideoFrame:
        await self._clock.until(self._count / self._film.rate)
        frame = self._film.frames[self._count % len(self._film.frames)]
        frame.pts, frame.time_base = round(90_000 * self._count / self._film.rate), Fraction(1, 90_000)
        self._count += 1
        return frame


class _Sound(MediaStreamTrack):
    kind = "audio"

    def __init__(self, film: Film, clock: _Clock) -> None:
        super().__init__()
        self._film, self._clock, self._sent = film, clock, 0

    async def recv(self) -> av.AudioFrame:
        await self._clock.until(self._sent / _RATE_HZ)
        begin = self._sent % (len(self._film.sound) - _BLOCK)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(self._film.sound[begin : begin + _BLOCK]).reshape(1, -1),
            format="s16",
            layout="stereo",
        )
        frame.sample_rate, frame.pts, frame.time_base = _RATE_HZ, self._sent, Fraction(1, _RATE_HZ)
        self._sent += _BLOCK
        return frame


async def _serve(film: Film, host: str, port: int) -> None:
    peers: set[RTCPeerConnection] = set()

    async def whep(request: web.Request) -> web.Response:
        for gone in peers:
            await gone.close()
        pc, clock = RTCPeerConnection(), _Clock()
        peers.clear()
        peers.add(pc)
        pc.addTrack(_Picture(film, clock))
        pc.addTrack(_Sound(film, clock))
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await pc.setLocalDescription()
        return web.Response(status=201, text=pc.localDescription.sdp, content_type="application/sdp")

    application = web.Application()
    application.router.add_post("/whep", whep)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("film", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    args = parser.parse_args()
    asyncio.run(_serve(Film(args.film), args.host, args.port))


if __name__ == "__main__":
    main()
