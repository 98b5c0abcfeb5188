"""What a process holds: memory, threads, descriptors, tasks, connections. It tells when it is asked.

    in the server      answer_census()                  from here on SIGUSR1 is answered with a line of JSON on stdout
    beside it          Server(program).census()         asks, and reads that line

Before it counts, it collects garbage and gives free memory back to the system (``malloc_trim``), so that what is left
is what is held. What was there when the server was ready is set aside by it (``gc.freeze``) and is not looked at.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiortc import RTCPeerConnection

from server.live.session import LiveSession

_ROOT = Path(__file__).resolve().parents[2]
_ANSWER_S = 20.0
_READY_S = 180.0


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


def answer_census() -> None:
    """Answer SIGUSR1, in a process that runs an event loop in its main thread."""
    signal.signal(signal.SIGUSR1, lambda *_: _answer())


class Server:
    """A ``gohd serve`` in a process of its own that can be asked."""

    def __init__(self, *arguments: str, program: str | None = None) -> None:
        run = program or "from clients.cli import main; main()"
        path = [str(_ROOT), str(_ROOT / "benchmarks")]
        code = f"import sys; sys.path[:0] = {path}; from census import answer_census; answer_census(); {run}"
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-c", code, *arguments], stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        said = self._lines.get(timeout=_READY_S)
        self.url = next(word for word in said.split() if word.startswith("http"))
        self._lines.get(timeout=_READY_S)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def census(self) -> ProcessStats:
        self._process.send_signal(signal.SIGUSR1)
        return ProcessStats(**json.loads(self._lines.get(timeout=_ANSWER_S)))

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(20)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


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
    census = {
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
    os.write(1, (json.dumps(census) + "\n").encode())
