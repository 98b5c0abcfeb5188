"""The yardstick: aiortc alone plays a video to each posted offer, without any control of congestion.

    python -m benchmarks.network.bare_sender VIDEO.mp4 --host 10.77.0.1 --port 8081

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

_RATE_HZ, _BLOCK = 48_000, 960


class Video:
    """The frames and the audio of a file, decoded once."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
            assert rate is not None
            self.rate = float(rate)
            self.frames = [frame.reformat(format="yuv420p") for frame in container.decode(video=0)]
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s16", layout="stereo", rate=_RATE_HZ)
            parts = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        self.audio = np.concatenate(parts, axis=1).reshape(-1, 2)


class _Clock:
    def __init__(self) -> None:
        self._start_s = time.monotonic()

    async def until(self, moment_s: float) -> None:
        await asyncio.sleep(max(0.0, self._start_s + moment_s - time.monotonic()))


class _Image(MediaStreamTrack):
    kind = "video"

    def __init__(self, video: Video, clock: _Clock) -> None:
        super().__init__()
        self._video, self._clock, self._count = video, clock, 0

    async def recv(self) -> av.VideoFrame:
        await self._clock.until(self._count / self._video.rate)
        frame = self._video.frames[self._count % len(self._video.frames)]
        frame.pts, frame.time_base = round(90_000 * self._count / self._video.rate), Fraction(1, 90_000)
        self._count += 1
        return frame


class _Audio(MediaStreamTrack):
    kind = "audio"

    def __init__(self, video: Video, clock: _Clock) -> None:
        super().__init__()
        self._video, self._clock, self._sent = video, clock, 0

    async def recv(self) -> av.AudioFrame:
        await self._clock.until(self._sent / _RATE_HZ)
        begin = self._sent % (len(self._video.audio) - _BLOCK)
        block = np.ascontiguousarray(self._video.audio[begin : begin + _BLOCK]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = _RATE_HZ, self._sent, Fraction(1, _RATE_HZ)
        self._sent += _BLOCK
        return frame


async def _serve(video: Video, host: str, port: int) -> None:
    peers: set[RTCPeerConnection] = set()

    async def whep(request: web.Request) -> web.Response:
        for gone in peers:
            await gone.close()
        pc, clock = RTCPeerConnection(), _Clock()
        peers.clear()
        peers.add(pc)
        pc.addTrack(_Image(video, clock))
        pc.addTrack(_Audio(video, clock))
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await pc.setLocalDescription()
        return web.Response(status=201, text=pc.localDescription.sdp, content_type="application/sdp")

    application = web.Application()
    application.router.add_post("/whep", whep)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print(f"http://{host}:{port}/", "ready", sep="\n", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    args = parser.parse_args()
    asyncio.run(_serve(Video(args.video), args.host, args.port))


if __name__ == "__main__":
    main()
