"""How the server does with real peers and a real engine: first frame, interrupt, sessions at once, leaks.

    python -m benchmarks.live.live_server [--cycles 100] [--interrupts 60] [--sessions 1,2,3] [--json OUT]

- first frame: a WebRTC peer in another process connects over loopback; from its offer to its first decoded frame.
- leaks: memory (after a garbage collection and ``malloc_trim``), tasks, peer connections, descriptors and threads of
  the server's process after a fifth of those cycles and after all, and the slope of memory in between.
- interrupt: from the call to the first frame of the new generation, and to the frame whose mouth is at rest, as they
  leave a session that speaks.
- sessions: n sessions speak for ten seconds in one process, each frame encoded as it is sent: late frames, frame rate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder

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
    engines: list[Any] = []
    config = ServerConfig()

    def load() -> Any:
        engines.append(engine_loader(config)())
        return engines[0]

    configure_codecs()
    manager = SessionManager(config)
    manager.start(load, PORTRAIT)
    await manager.wait_loaded()
    manager.sessions.core_count = 1000
    return manager, engines[0]


def _speak(session: LiveSession, seconds: float) -> None:
    voice = (32767 * demo_voice(seconds)).clip(-32768, 32767).astype(np.int16)
    session.open_voice(live=False).push_pcm(voice, SAMPLE_RATE_HZ)


async def measure_interrupts(count: int) -> Report:
    """Each interrupt comes at a random moment of speech."""
    manager, engine = await _manager()
    # The frame on show when the interrupt comes is the first of those in which the mouth closes.
    frames_to_rest = engine.networks.mixer.mouth_close_frames - 1
    session = await manager.open()
    tracks = _add_tracks(manager, session)
    rng = np.random.default_rng(0)
    first_ms, rest_ms = [], []
    drain = asyncio.ensure_future(_watch(tracks, None))
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


async def measure_sessions(count: int, seconds: float = 10.0) -> Report:
    """``count`` sessions that speak at once."""
    manager, _ = await _manager()
    sessions = [await manager.open() for _ in range(count)]
    watched = [_add_tracks(manager, session) for session in sessions]
    tasks = [asyncio.ensure_future(_watch(tracks, H264Encoder())) for tracks in watched]
    for session in sessions:
        _speak(session, seconds + 5)
    await asyncio.sleep(2.0)
    before = [(s.frames_made, s.frames_late, t.sent) for s, t in zip(sessions, watched, strict=True)]
    began_s = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed_s = time.perf_counter() - began_s
    after = [(s.frames_made, s.frames_late, t.sent) for s, t in zip(sessions, watched, strict=True)]
    made, late, sent = (np.array(after) - np.array(before)).T
    cost = manager.sessions.cost
    manager.sessions.core_count = len(os.sched_getaffinity(0))
    report = {
        "sessions": count,
        "fps_least": round(float(sent.min()) / elapsed_s, 2),
        "late_share": round(float(late.sum() / max(1, made.sum())), 4),
        "delay_ms": [20 * session.timeline.delay_blocks for session in sessions],
        "render_ms": [round(session.worker.render_ms, 1) for session in sessions],
        "frame_cost_ms": None if cost is None else round(cost.total_ms, 1),
        "admitted": manager.sessions.capacity,
    }
    for task in tasks:
        task.cancel()
    await manager.close()
    return report


def _add_tracks(manager: SessionManager, session: LiveSession) -> ViewerTracks:
    tracks = ViewerTracks(session.timeline, manager.clock)
    session.add_sink(tracks)
    return tracks


async def _watch(tracks: ViewerTracks, encoder: H264Encoder | None) -> None:
    while True:
        frame = await tracks.video.recv()
        assert isinstance(frame, av.VideoFrame)
        if encoder is not None:
            frame.time_base = Fraction(1, 90_000)
            await asyncio.get_running_loop().run_in_executor(None, encoder.encode, frame, False)


def _measure(args: argparse.Namespace) -> Report:
    report: Report = {"load_average": os.getloadavg()}
    if args.cycles:
        report["connections"] = asyncio.run(measure_cycles(args.cycles))
    if args.interrupts:
        report["interrupts"] = asyncio.run(measure_interrupts(args.interrupts))
    report["sessions"] = [asyncio.run(measure_sessions(int(count))) for count in args.sessions.split(",") if count]
    return report


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cycles", type=int, default=100, help="connections that come and go; 0 leaves them out")
    parser.add_argument("--interrupts", type=int, default=60, help="0 leaves them out")
    parser.add_argument("--sessions", default="1,2,3", help="numbers of sessions to try")


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options)
