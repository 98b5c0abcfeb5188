"""Soak test: sessions come and go for minutes, one stays; does the server leak, and does the one that stays suffer?

    python -m benchmarks.live.soak [--minutes 20] [--clients 2] [--cores N] [--seed 0] [--json OUT]

A real ``gohd serve`` in a process of its own. One session speaks all the time; beside it clients come, stay 3 to 12 s
and leave in every way there is (`VISITS`). What a full server refuses (503) comes again later and is counted. With
``--cores`` the server is told that it has so many cores and admits more sessions than it can serve in time: more come
and go, and the figures of the steady session are those of an overloaded server.

- held: memory after a garbage collection and ``malloc_trim``, tasks, descriptors, threads, peer connections; with the
  one session alone after a warm-up, and again at the end; and the slope of memory in between.
- steady: gaps between the frames of the session that stays, and how far its audio and video drift apart: the
  difference of (arrival - time stamp) of the two, by the least of each ten seconds: first and last minute, and slope.
"""

import argparse
import asyncio
import os
import time
from collections import Counter
from dataclasses import asdict, fields

import aiohttp
import numpy as np

from benchmarks.live.load_clients import VISITS, Viewer, visit
from benchmarks.live.process_stats import MeasuredServer, ProcessStats
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles
from benchmarks.signals import demo_voice_int16
from tests.server_process import GOHD
from tests.webrtc_peer import RequestRefused

_STATS_S = 30.0
_LINGER_S = 12.0
_PORTRAITS_KEPT = 8
_TRIES = 5
_BUCKET_S = 10.0
_FREEZE_S = 0.5


class Soak:
    """One server process under load for minutes; `run` gives the report."""

    def __init__(self, clients: int, seed: int, cores: int | None = None) -> None:
        self._clients = clients
        self._program = GOHD
        if cores is not None:
            pinned = f"import server.sessions.registry as registry; registry.cores = lambda: {cores}"
            self._program = f"{pinned}; {self._program}"
        self._rng = np.random.default_rng(seed)
        self._voice = demo_voice_int16(20.0)
        self._visits: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._faults: list[str] = []
        self._first_frames_ms: list[float] = []
        self._stats: list[tuple[float, ProcessStats]] = []

    async def run(self, seconds: float) -> Report:
        server = await asyncio.to_thread(MeasuredServer, "serve", "--port", "0", program=self._program)
        try:
            async with aiohttp.ClientSession() as http:
                steady = Viewer(http, server.url, self._voice)
                await steady.watch()
                await self._warm_up(http, server.url)
                before = await asyncio.to_thread(server.stats)
                began_s = time.monotonic()
                await self._visit_for(http, server, seconds)
                await asyncio.sleep(_LINGER_S)
                ended_s = time.monotonic()
                after = await asyncio.to_thread(server.stats)
                await steady.hang_up()
            assert server.alive
        finally:
            code = await asyncio.to_thread(server.stop)
        return {
            "minutes": round(seconds / 60, 2),
            "clients_at_once": self._clients,
            "visits": dict(self._visits),
            "refused": dict(self._refusals),
            "faults": self._faults,
            "first_frame_ms": percentiles(self._first_frames_ms) if self._first_frames_ms else None,
            "held": self._held(before, after),
            "steady": _steady(steady, began_s, ended_s),
            "exit_code": code,
        }

    async def _warm_up(self, http: aiohttp.ClientSession, url: str) -> None:
        """Every kind of visit twice, and as many portraits as the server keeps."""
        for kind in (*VISITS, *VISITS, *["uploads a portrait"] * (_PORTRAITS_KEPT - 2)):
            for _ in range(_TRIES):
                if await self._one(http, url, kind, 2.0):
                    break
        await asyncio.sleep(_LINGER_S)
        self._visits.clear()
        self._refusals.clear()
        self._first_frames_ms.clear()

    async def _visit_for(self, http: aiohttp.ClientSession, server: MeasuredServer, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        clients = [asyncio.ensure_future(self._come_and_go(http, server.url, end_s)) for _ in range(self._clients)]
        while time.monotonic() < end_s:
            await asyncio.sleep(min(_STATS_S, max(0.0, end_s - time.monotonic())))
            self._stats.append((time.monotonic(), await asyncio.to_thread(server.stats)))
        await asyncio.gather(*clients)

    async def _come_and_go(self, http: aiohttp.ClientSession, url: str, end_s: float) -> None:
        while time.monotonic() < end_s:
            await self._one(http, url, str(self._rng.choice(VISITS)), float(self._rng.uniform(3, 12)))
            await asyncio.sleep(float(self._rng.uniform(0.2, 2)))

    async def _one(self, http: aiohttp.ClientSession, url: str, kind: str, stay_s: float) -> bool:
        """Whether there was a place."""
        try:
            self._first_frames_ms.append(await visit(http, url, kind, self._voice, stay_s))
            self._visits[kind] += 1
            return True
        except RequestRefused as refusal:
            self._refusals[str(refusal)] += 1
            await asyncio.sleep(2.0)
        except Exception as fault:  # the server's, or the way there: reported, and the next one comes
            self._faults.append(f"{kind}: {fault!r}")
        return False

    def _held(self, before: ProcessStats, after: ProcessStats) -> Report:
        names = [field.name for field in fields(ProcessStats)]
        times_h = np.array([moment for moment, _ in self._stats]) / 3600
        memory_mib = np.array([stats.anonymous_kib for _, stats in self._stats]) / 1024
        slope = np.polyfit(times_h - times_h[0], memory_mib, 1)[0] if len(times_h) > 2 else float("nan")
        return {
            "before": asdict(before),
            "after": asdict(after),
            "growth": {name: getattr(after, name) - getattr(before, name) for name in names},
            "most": {name: max(getattr(stats, name) for _, stats in self._stats) for name in names},
            "anonymous_mib": [round(float(each), 2) for each in memory_mib],
            "anonymous_slope_mib_per_hour": round(float(slope), 2),
        }


def _steady(viewer: Viewer, began_s: float, ended_s: float) -> Report:
    images = np.array([entry for entry in viewer.images if entry[1] >= began_s])
    audio = np.array([entry for entry in viewer.audio if entry[1] >= began_s])
    gaps_s = np.diff(images[:, 1])
    edges_s = np.arange(began_s, min(images[-1, 1], audio[-1, 1]) - _BUCKET_S + 1e-6, _BUCKET_S)
    apart_ms = np.array([1e3 * (_ahead_s(images, edge) - _ahead_s(audio, edge)) for edge in edges_s])
    minute = max(1, round(60 / _BUCKET_S))
    slope = np.polyfit((edges_s - began_s) / 3600, apart_ms, 1)[0] if len(edges_s) > 2 else float("nan")
    return {
        "lived_to_the_end": bool(ended_s - images[-1, 1] < _FREEZE_S),
        "seconds": round(float(images[-1, 1] - images[0, 1]), 1),
        "fps": round((len(images) - 1) / float(images[-1, 1] - images[0, 1]), 3),
        "fps_by_minute": _by_minute(images[:, 1], began_s),
        "longest_gap_ms": round(1e3 * float(gaps_s.max()), 1),
        "gap_ms": percentiles(list(1e3 * gaps_s)),
        "freezes_over_500_ms": int((gaps_s > _FREEZE_S).sum()),
        "audio_missing_ms": round(1e3 * float(audio[-1, 0] - audio[0, 0]) - 20.0 * (len(audio) - 1), 1),
        "drift_ms": round(float(np.median(apart_ms[-minute:]) - np.median(apart_ms[:minute])), 2),
        "drift_slope_ms_per_hour": round(float(slope), 2),
    }


def _by_minute(arrivals_s: np.ndarray, began_s: float) -> list[float]:
    """Images a second in each whole minute."""
    minutes = ((arrivals_s - began_s) // 60).astype(int)
    whole = int((arrivals_s[-1] - began_s) // 60)
    return [round(int((minutes == minute).sum()) / 60, 1) for minute in range(whole)]


def _ahead_s(frames: np.ndarray, edge_s: float) -> float:
    """The least delay (arrival minus time stamp) of the frames that arrive in ten seconds from ``edge_s`` on."""
    inside = frames[(frames[:, 1] >= edge_s) & (frames[:, 1] < edge_s + _BUCKET_S)]
    return float((inside[:, 1] - inside[:, 0]).min())


def _measure(args: argparse.Namespace) -> Report:
    report: Report = {"told_cores": args.cores, "load_average_before": os.getloadavg()}
    report["soak"] = asyncio.run(Soak(args.clients, args.seed, args.cores).run(60 * args.minutes))
    return report | {"load_average_after": os.getloadavg()}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=2, help="how many come and go at once")
    parser.add_argument("--cores", type=int, help="cores that the server is told it has")
    parser.add_argument("--seed", type=int, default=0)


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options)
