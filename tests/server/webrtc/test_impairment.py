"""Bad networks: the path itself, how a viewing is judged, and one short viewing over a line that loses packets."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_ROOT = Path(__file__).parents[3]

# A server with an engine that costs nothing, in the namespace where it is started.
_SERVE = """
import asyncio, contextlib, sys
sys.path.insert(0, {benchmarks!r})
from aiohttp import web
from flash_engine import FlashEngine
from server import AvatarServer, ServerConfig
from server.webrtc.codecs import configure_codecs

async def main():
    configure_codecs()
    server = AvatarServer(ServerConfig(host="10.77.0.1", port=8080, insecure=True), FlashEngine)
    server.sessions.core_count = 1000
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "10.77.0.1", 8080).start()
    server.listening_on(8080)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``bench("viewing")`` is that module of benchmarks/."""
    monkeypatch.syspath_prepend(str(_ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def line(bench: Any) -> Iterator[tuple[Any, socket.socket, socket.socket]]:
    """A path, and its two ends, without namespaces."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    path = bench("impaired_path").ImpairedPath({"a": pairs[0][1].fileno(), "b": pairs[1][1].fileno()}, seed=3)
    ends = pairs[0][0], pairs[1][0]
    ends[1].settimeout(1.0)
    yield path, *ends
    path.close()
    for end in (*pairs[0], *pairs[1]):
        end.close()


def test_a_path_limits_the_rate_and_keeps_the_order(bench: Any, line: Any) -> None:
    path, near, far = line
    path.impairment = bench("impaired_path").Impairment(rate_bps=400e3)
    began_s = time.monotonic()
    for number in range(20):
        near.send(bytes([number]) * 500)
    got = [far.recv(2000)[0] for _ in range(20)]
    assert got == list(range(20))
    assert 0.19 < time.monotonic() - began_s < 1.5, "80 000 bits over a line of 400 000 a second"
    assert path.bytes_from_a == 10_000


def test_a_path_loses_and_delays_what_it_is_told_to(bench: Any, line: Any) -> None:
    path, near, far = line
    path.impairment = bench("impaired_path").Impairment(loss=0.3, delay_s=0.1, jitter_s=0.03)
    began_s = time.monotonic()
    for _ in range(300):
        near.send(b"packet")
        time.sleep(0.0005)
    arrivals = []
    with contextlib.suppress(TimeoutError):
        while True:
            far.recv(100)
            arrivals.append(time.monotonic() - began_s)
    assert 170 < len(arrivals) < 250
    assert arrivals[0] > 0.07
    far.settimeout(0.3)
    path.impairment = bench("impaired_path").Impairment(down=True)
    near.send(b"packet")
    with pytest.raises(TimeoutError):
        far.recv(100)


def _report(shown: Any, delay_s: Any) -> dict[str, Any]:
    rtp = (np.round((shown - delay_s) * 90_000) + 4e9) % 2**32
    frames = np.stack([shown, shown - 0.01, rtp, np.full(len(shown), 256)], axis=1)
    return {"frames": frames.tolist(), "samples": []}


def test_a_viewing_is_judged(bench: Any) -> None:
    shown = np.arange(0, 20, 0.04)
    kept = shown[~((shown > 8.1) & (shown < 8.7)) & ~((shown > 12.0) & (shown < 13.4))]
    late = np.where((kept >= 5) & (kept < 12.5), 0.3, 0.0)
    viewing = bench("viewing").look_at(_report(kept + late, late), 5.0, 12.0)
    assert viewing.longest_freeze_ms == pytest.approx(640, abs=1)
    assert viewing.frozen_share == pytest.approx(0.96 / 7, abs=0.01), "and 0.3 s when the delay began"
    assert viewing.latency_p50_ms == pytest.approx(310, abs=2)
    assert viewing.recovery_s == pytest.approx(1.4, abs=0.05)
    assert viewing.fps == pytest.approx(25 - 14 / 7, abs=1.2)


def test_a_viewing_that_does_not_recover(bench: Any) -> None:
    shown = np.arange(0, 12, 0.04)
    late = np.where(shown < 5, 0.0, 0.8)
    viewing = bench("viewing").look_at(_report(shown + late, late), 5.0, 10.0)
    assert viewing.recovery_s is None, "every frame comes, but too late"
    assert viewing.longest_freeze_ms == pytest.approx(840, abs=1)


@pytest.mark.browser
@pytest.mark.slow
def test_a_viewer_sees_us_through_ten_percent_of_loss(bench: Any) -> None:
    paths = bench("impaired_path")
    if (reason := paths.why_not()) is not None:
        pytest.skip(reason)
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium: apt-get install chromium")
    impairment = bench("impairment")
    program = _SERVE.format(benchmarks=str(_ROOT / "benchmarks"))
    with paths.open_path(seed=5) as path:
        command = paths.inside("a", sys.executable, "-c", program)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT, text=True)
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            cell = impairment.CELLS["loss 10 %"]
            figures = impairment.measure_cell(path, "http://10.77.0.1:8080/whep", cell, 3.0, lead_s=1.5, tail_s=2.5)
        finally:
            server.terminate()
            server.wait(20)
            server.stdout.close()
    print(figures)
    assert figures["fps"] > 8
    assert figures["longest_freeze_ms"] < 2000
    assert figures["recovery_s"] is not None
    assert figures["sent_kbps"] > 50
