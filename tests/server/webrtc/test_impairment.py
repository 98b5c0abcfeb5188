"""Bad networks: the path itself, how a viewing is judged, and one short viewing over a line that loses packets."""

import contextlib
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from benchmarks.network.impaired_path import ImpairedPath, Impairment, inside, open_path, unavailable_reason
from benchmarks.network.impairment import CELLS, measure_cell
from benchmarks.network.playback_stats import playback_stats
from tests.chromium import NO_CHROMIUM, find_chromium
from tests.server_process import ServerProcess

# A server with an engine that costs nothing, in the namespace where it is started.
_SERVE = """
import asyncio, contextlib
from server.webrtc.codecs import configure_codecs
from tests.serving_helper import start_server

async def main():
    configure_codecs()
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack, host="10.77.0.1", insecure=True)
        print(served.url, "ready", sep="\\n", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def line() -> Iterator[tuple[Any, socket.socket, socket.socket]]:
    """A path, and its two ends, without namespaces."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    path = ImpairedPath({"a": pairs[0][1].fileno(), "b": pairs[1][1].fileno()}, seed=3)
    ends = pairs[0][0], pairs[1][0]
    ends[1].settimeout(1.0)
    yield path, *ends
    path.close()
    for end in (*pairs[0], *pairs[1]):
        end.close()


@pytest.mark.realtime
def test_a_path_limits_the_rate_and_keeps_the_order(line: Any) -> None:
    path, near, far = line
    path.impairment = Impairment(rate_bps=400e3)
    began_s = time.monotonic()
    for number in range(20):
        near.send(bytes([number]) * 500)
    got = [far.recv(2000)[0] for _ in range(20)]
    assert got == list(range(20))
    assert 0.19 < time.monotonic() - began_s < 1.5, "80 000 bits over a line of 400 000 a second"
    assert path.bytes_from_a == 10_000


@pytest.mark.realtime
def test_a_path_loses_and_delays_what_it_is_told_to(line: Any) -> None:
    path, near, far = line
    path.impairment = Impairment(loss=0.3, delay_s=0.1, jitter_s=0.03)
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
    path.impairment = Impairment(down=True)
    near.send(b"packet")
    with pytest.raises(TimeoutError):
        far.recv(100)


def _report(shown: Any, delay_s: Any) -> dict[str, Any]:
    rtp = (np.round((shown - delay_s) * 90_000) + 4e9) % 2**32
    frames = np.stack([shown, shown - 0.01, rtp, np.full(len(shown), 256)], axis=1)
    return {"frames": frames.tolist(), "samples": []}


def test_a_viewing_is_judged() -> None:
    shown = np.arange(0, 20, 0.04)
    kept = shown[~((shown > 8.1) & (shown < 8.7)) & ~((shown > 12.0) & (shown < 13.4))]
    late = np.where((kept >= 5) & (kept < 12.5), 0.3, 0.0)
    viewing = playback_stats(_report(kept + late, late), 5.0, 12.0)
    assert viewing.longest_freeze_ms == pytest.approx(640, abs=1)
    assert viewing.frozen_share == pytest.approx(0.96 / 7, abs=0.01), "and 0.3 s when the delay began"
    assert viewing.latency_p50_ms == pytest.approx(310, abs=2)
    assert viewing.recovery_s == pytest.approx(1.4, abs=0.05)
    assert viewing.fps == pytest.approx(25 - 14 / 7, abs=1.2)


def test_a_viewing_that_does_not_recover() -> None:
    shown = np.arange(0, 12, 0.04)
    late = np.where(shown < 5, 0.0, 0.8)
    viewing = playback_stats(_report(shown + late, late), 5.0, 10.0)
    assert viewing.recovery_s is None, "every frame comes, but too late"
    assert viewing.longest_freeze_ms == pytest.approx(840, abs=1)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.realtime
def test_a_viewer_sees_us_through_ten_percent_of_loss() -> None:
    if (reason := unavailable_reason()) is not None:
        pytest.skip(reason)
    if find_chromium() is None:
        pytest.skip(NO_CHROMIUM)
    with open_path(seed=5) as path, ServerProcess(program=_SERVE, wrap=partial(inside, "a")) as server:
        figures = measure_cell(path, f"{server.url}/whep", CELLS["loss 10 %"], 3.0, lead_s=1.5, tail_s=2.5)
    print(figures)
    assert figures["fps"] > 8
    assert figures["longest_freeze_ms"] < 2000
    assert figures["recovery_s"] is not None
    assert figures["sent_kbps"] > 50
