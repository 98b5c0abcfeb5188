"""A bad network between two namespaces of this machine (Linux, root).

    namespace "a" --TUN--> [loss, then a queue of limited rate, then delay and jitter] --TUN--> namespace "b"

Both directions pass the same impairment, drawn from one seed; packets never overtake each other. The queue is as long
as a router's with far too much memory (1000 packets), which is where a sender that does not listen builds up seconds.
"""

import collections
import contextlib
import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}

_SET_INTERFACE, _TUN_WITHOUT_HEADER = 0x400454CA, 0x1001
_MTU_BYTES = 1400
_QUEUE_PACKETS = 1000
_IDLE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """What a path does to each packet. ``rate_bps`` None is no limit; ``down`` loses everything."""

    loss: float = 0.0
    rate_bps: float | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    down: bool = False


@dataclass(slots=True)
class _Direction:
    source: int
    target: int
    rng: random.Random
    free_s: float = 0.0
    last_out_s: float = 0.0
    waiting: collections.deque[tuple[float, bytes]] = field(default_factory=collections.deque)
    entered_bytes: int = 0
    entered_packets: int = 0
    dropped_packets: int = 0

    def enter(self, packet: bytes, how: Impairment, now_s: float) -> None:
        self.entered_bytes += len(packet)
        self.entered_packets += 1
        lost = how.down or self.rng.random() < how.loss
        if lost or len(self.waiting) >= _QUEUE_PACKETS:
            self.dropped_packets += 1
            return
        if how.rate_bps is not None:
            self.free_s = max(self.free_s, now_s) + 8 * len(packet) / how.rate_bps
        sent_s = now_s if how.rate_bps is None else self.free_s
        out_s = sent_s + how.delay_s + self.rng.uniform(-how.jitter_s, how.jitter_s)
        self.last_out_s = max(self.last_out_s, out_s)
        self.waiting.append((self.last_out_s, packet))

    def leave(self, now_s: float) -> None:
        while self.waiting and self.waiting[0][0] <= now_s:
            with contextlib.suppress(OSError):  # the far end is being taken down
                os.write(self.target, self.waiting.popleft()[1])


class ImpairedPath:
    """Carries packets on a thread of its own until closed; ``impairment`` may be set at any time."""

    def __init__(self, ends: dict[str, int], seed: int = 0) -> None:
        self.impairment = Impairment()
        self._there = _Direction(ends["a"], ends["b"], random.Random(seed))
        self._back = _Direction(ends["b"], ends["a"], random.Random(seed + 1))
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="impaired-path", daemon=True)
        self._thread.start()

    @property
    def bytes_from_a(self) -> int:
        """What namespace ``a`` has sent, IP headers included, lost or not."""
        return self._there.entered_bytes

    @property
    def queue_s(self) -> float:
        """How long a packet that enters now at ``a`` waits for the line."""
        return max(0.0, self._there.free_s - time.monotonic())

    def close(self) -> None:
        self._closing = True
        self._thread.join(5)

    def _run(self) -> None:
        directions = {each.source: each for each in (self._there, self._back)}
        while not self._closing:
            now_s = time.monotonic()
            outs = [each.waiting[0][0] for each in directions.values() if each.waiting]
            wait_s = min([_IDLE_S, *(max(0.0, out - now_s) for out in outs)])
            ready, _, _ = select.select(list(directions), [], [], wait_s)
            now_s = time.monotonic()
            for source in ready:
                directions[source].enter(os.read(source, 65536), self.impairment, now_s)
            for direction in directions.values():
                direction.leave(time.monotonic())


def unavailable_reason() -> str | None:
    """Why no impaired path can be had here; None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "no ip command: apt-get install iproute2"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is missing"
    made = subprocess.run(["ip", "netns", "add", _namespace("probe")], capture_output=True, text=True)
    if made.returncode != 0:
        return f"network namespaces are not allowed here: {made.stderr.strip()}"
    _ip("netns", "del", _namespace("probe"))
    return None


@contextlib.contextmanager
def open_path(seed: int = 0) -> Iterator[ImpairedPath]:
    """Two namespaces with addresses ``ADDRESSES`` and a perfect path between them, until the block ends."""
    with contextlib.ExitStack() as stack:
        ends = {}
        for name, address in ADDRESSES.items():
            namespace, device = _namespace(name), f"gohd{os.getpid() % 10**6}{name}"
            _ip("netns", "add", namespace)
            stack.callback(_ip, "netns", "del", namespace)
            end = os.open("/dev/net/tun", os.O_RDWR)
            stack.callback(os.close, end)
            fcntl.ioctl(end, _SET_INTERFACE, struct.pack("16sH14x", device.encode(), _TUN_WITHOUT_HEADER))
            _ip("link", "set", device, "netns", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up", "mtu", str(_MTU_BYTES))
            ends[name] = end
        path = ImpairedPath(ends, seed)
        stack.callback(path.close)
        yield path


def inside(name: str, *command: str) -> list[str]:
    """``command`` as it is run in namespace ``name`` (``a`` or ``b``)."""
    return ["ip", "netns", "exec", _namespace(name), *command]


def _namespace(name: str) -> str:
    return f"gohd-{os.getpid()}-{name}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
