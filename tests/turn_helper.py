"""A real coturn of its own for a test, where it is installed."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import ifaddr
import pytest

TURN_SECRET = "a secret between two servers"


def own_address() -> str:
    """An IPv4 address of this machine that is not the loopback's, if there is one."""
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if ip.is_IPv4 and not str(ip.ip).startswith("127."):
                return str(ip.ip)
    return "127.0.0.1"


@contextlib.contextmanager
def running_coturn(folder: Path) -> Iterator[str]:
    """The URL of a TURN server that shares TURN_SECRET; skips the test where coturn is not installed."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed: apt-get install coturn")
    host = own_address()
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    command = [program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--fingerprint"]
    command += ["--use-auth-secret", f"--static-auth-secret={TURN_SECRET}", "--realm=gohd.test"]
    command += [f"--listening-ip={host}", f"--listening-port={port}", f"--relay-ip={host}"]
    command += [f"--pidfile={folder}/turn.pid", f"--userdb={folder}/turn.db", "--log-file=stdout"]
    with (folder / "turn.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((host, port)) == 0:
                    break
            assert server.poll() is None, (folder / "turn.log").read_text(errors="replace")
            assert time.monotonic() < end, "coturn does not listen"
            time.sleep(0.05)
        yield f"turn:{host}:{port}"
    finally:
        server.terminate()
        server.wait(10)
