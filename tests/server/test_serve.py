"""The running server as a process of its own: its address, its signals, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from server import ServerConfig, serve

_TESTS = Path(__file__).parents[1]

_PROGRAM = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from fake_engine import FakeEngine
from server import ServerConfig, serve
serve(
    ServerConfig(port=0),
    on_listening=lambda url: print(url, flush=True),
    on_ready=lambda: print("ready", flush=True),
    load=lambda: FakeEngine(load_s={load_s}),
)
print("ended", flush=True)
"""


def _start(load_s: float = 0.0) -> subprocess.Popen[str]:
    program = _PROGRAM.format(tests=str(_TESTS), root=str(_TESTS.parent), load_s=load_s)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    process = _start()
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert process.stdout.readline() == "ready\n"
    with urllib.request.urlopen(f"{url}healthz", timeout=5) as response:
        assert response.status == 200
    began = time.monotonic()
    process.send_signal(number)
    assert process.stdout.readline() == "ended\n"
    assert time.monotonic() - began < 2.0
    assert process.wait(20) == 0
    process.stdout.close()


def test_it_can_be_ended_while_weights_load() -> None:
    process = _start(load_s=30.0)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    began = time.monotonic()
    process.terminate()
    assert process.stdout.readline() == "ended\n"
    assert time.monotonic() - began < 2.0
    assert process.wait(20) == 0
    process.stdout.close()


def test_what_keeps_the_engine_from_loading_is_raised() -> None:
    def load() -> None:
        raise FileNotFoundError("no weights")

    with pytest.raises(FileNotFoundError, match="no weights"):
        serve(ServerConfig(port=0), load=load)  # type: ignore[arg-type]
