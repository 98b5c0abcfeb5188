"""What a server process holds: memory, threads, descriptors, tasks, connections.

    in the server      answer_stats_requests()      from here on SIGUSR1 is answered with a line of JSON on stdout
    beside it          MeasuredServer(...).stats()  asks, and reads that line

Before it counts, the process collects garbage and gives free memory back to the system (``malloc_trim``), so that what
is left is held. Objects that were there when the server was ready are not counted: the server sets them aside
(``gc.freeze``).
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiortc import RTCPeerConnection

from server.live.session import LiveSession
from tests.server_process import GOHD, ServerProcess

_ANSWER_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStats:
    """Memory in KiB: all that is resident, and the anonymous part, which no file stands behind."""

    resident_kib: int
    anonymous_kib: int
    threads: int
    descriptors: int
    tasks: int
    peers: int
    open_peers: int
    sessions: int
    objects: int


class MeasuredServer(ServerProcess):
    """A server process that can be asked what it holds."""

    def __init__(self, *arguments: str, program: str = GOHD) -> None:
        answering = "from benchmarks.live.process_stats import answer_stats_requests; answer_stats_requests()"
        super().__init__(*arguments, program=f"{answering}\n{program}")

    def stats(self) -> ProcessStats:
        self.signal(signal.SIGUSR1)
        return ProcessStats(**json.loads(self.line(_ANSWER_S)))


def answer_stats_requests() -> None:
    """Answer SIGUSR1, in a process that runs an event loop in its main thread."""
    signal.signal(signal.SIGUSR1, lambda *_: _answer())


def _answer() -> None:
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    found: dict[type[Any], list[Any]] = {RTCPeerConnection: [], LiveSession: []}
    objects = gc.get_objects()
    for thing in objects:
        if type(thing) in found:
            found[type(thing)].append(thing)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    stats = {
        "resident_kib": int(status["VmRSS"].split()[0]),
        "anonymous_kib": int(status["RssAnon"].split()[0]),
        "threads": int(status["Threads"]),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "tasks": len(asyncio.all_tasks()),
        "peers": len(found[RTCPeerConnection]),
        "open_peers": sum(peer.connectionState != "closed" for peer in found[RTCPeerConnection]),
        "sessions": len(found[LiveSession]),
        "objects": len(objects),
    }
    os.write(1, (json.dumps(stats) + "\n").encode())
