"""The yardstick: aiortc alone plays a video to each posted offer, without any control of congestion.

    python -m benchmarks.network.bare_sender VIDEO.mp4 --host 10.77.0.1 --port 8081

aiortc's own player, codecs, bitrates and answers to its receivers' reports.
"""

import argparse
import asyncio
import contextlib

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer


async def _serve(video: str, host: str, port: int) -> None:
    peers: set[RTCPeerConnection] = set()

    async def whep(request: web.Request) -> web.Response:
        for gone in peers:
            await gone.close()
        pc, player = RTCPeerConnection(), MediaPlayer(video, loop=True)
        peers.clear()
        peers.add(pc)
        for track in (player.video, player.audio):
            if track is not None:
                pc.addTrack(track)
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
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(args.video, args.host, args.port))


if __name__ == "__main__":
    main()
