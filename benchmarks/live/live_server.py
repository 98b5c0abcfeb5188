"""How the server does with real peers and a real engine: first frame, interrupt, leaks.

    python -m benchmarks.live.live_server [--cycles 100] [--interrupts 60] [--json OUT]

- first frame: a WebRTC peer in another process connects over loopback; from its offer to its first decoded frame.
- leaks: memory (after a garbage collection and ``malloc_trim``), tasks, peer connections, descriptors and threads of
  the server's process after a fifth of those cycles and after all, and the slope of memory in between.
- interrupt: from the call to the first frame of the new generation, and to the frame whose mouth is at rest, as they
  leave a session that speaks. `benchmarks/sessions.py` measures how many sessions a machine serves at once.
"""

import argparse
import asyncio
import os
import time
from dataclasses import asdict
from typing import Any

import aiohttp
import numpy as np

from benchmarks.live.load_clients import visit
from benchmarks.live.process_stats import MeasuredServer, ProcessStats
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles
from benchmarks.signals import demo_voice
from engine.assets import PORTRAIT
from engine.timebase import SAMPLE_RATE_HZ
from server import LiveSession, ServerConfig, SessionManager, engine_loader
from server.webrtc.codecs import configure_codecs
from server.webrtc.tracks import ViewerTracks

_SETTLE_S = 1.0


async def measure_cycles(cycles: int) -> Report:
    """First frames and what is left behind, of a server in a process of its own."""
    program = (
        "from server import ServerConfig, serve\n"
        "serve(ServerConfig(port=0, request_burst=10**6), on_listening=print, on_ready=lambda: print('ready'))"
    )
    server = await asyncio.to_thread(MeasuredServer, program=program)
    times_ms: list[float] = []
    counts: list[tuple[int, ProcessStats]] = []
    silence = np.zeros(960, np.int16)
    try:
        async with aiohttp.ClientSession() as http:
            for cycle in range(cycles + 1):
                if cycle >= cycles // 5 and cycle % max(1, cycles // 10) == 0:
                    await asyncio.sleep(_SETTLE_S)
                    counts.append((cycle, await asyncio.to_thread(server.stats)))
                if cycle < cycles:
                    times_ms.append(await visit(http, server.url, "ends the session", silence, 0.0))
    finally:
        await asyncio.to_thread(server.stop)
    first, last = asdict(counts[0][1]), asdict(counts[-1][1])
    memory_kib = [stats.anonymous_kib for _, stats in counts]
    return {
        "cycles": cycles,
        "first_frame_ms": percentiles(times_ms),
        "after_a_fifth": first,
        "after_all": last,
        "growth": {name: last[name] - count for name, count in first.items()},
        "anonymous_kib": memory_kib,
        "anonymous_slope_kib_per_cycle": round(float(np.polyfit([cycle for cycle, _ in counts], memory_kib, 1)[0]), 2),
    }


async def _manager() -> tuple[SessionManager, Any]:
    configure_codecs()
    manager = SessionManager(ServerConfig())
    engine = engine_loader(manager.config)()
    manager.start(lambda: engine, PORTRAIT)
    await manager.wait_loaded()
    manager.sessions.core_count = 1000
    return manager, engine


def _speak(session: LiveSession, seconds: float) -> None:
    voice = (32767 * demo_voice(seconds)).clip(-32768, 32767).astype(np.int16)
    session.open_voice(live=False).push_pcm(voice, SAMPLE_RATE_HZ)


async def measure_interrupts(count: int) -> Report:
    """Each interrupt comes at a random moment of speech."""
    manager, engine = await _manager()
    # The frame on show when the interrupt comes is the first of those in which the mouth closes.
    frames_to_rest = engine.networks.mixer.mouth_close_frames - 1
    session = await manager.open()
    tracks = ViewerTracks(session.timeline, manager.clock)
    session.add_sink(tracks)
    rng = np.random.default_rng(0)
    first_ms, rest_ms = [], []
    drain = asyncio.ensure_future(_watch(tracks))
    for _ in range(count):
        _speak(session, 4.0)
        await asyncio.sleep(float(rng.uniform(0.9, 1.6)))
        sent = tracks.sent
        began_s = time.perf_counter()
        session.interrupt()
        while tracks.sent == sent:
            await asyncio.sleep(0.0005)
        first_ms.append(1e3 * (time.perf_counter() - began_s))
        while tracks.sent < sent + frames_to_rest:
            await asyncio.sleep(0.0005)
        rest_ms.append(1e3 * (time.perf_counter() - began_s))
    drain.cancel()
    await manager.close()
    return {
        "interrupts": count,
        "frames_to_rest": frames_to_rest,
        "to_first_frame_ms": percentiles(first_ms),
        "to_rest_ms": percentiles(rest_ms),
    }


async def _watch(tracks: ViewerTracks) -> None:
    while True:
        await tracks.video.recv()


def _measure(args: argparse.Namespace) -> Report:
    report: Report = {"load_average": os.getloadavg()}
    if args.cycles:
        report["connections"] = asyncio.run(measure_cycles(args.cycles))
    if args.interrupts:
        report["interrupts"] = asyncio.run(measure_interrupts(args.interrupts))
    return report


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cycles", type=int, default=100, help="connections that come and go; 0 leaves them out")
    parser.add_argument("--interrupts", type=int, default=60, help="0 leaves them out")


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options)
