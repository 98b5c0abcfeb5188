"""No command looks up a name or sends anything outside this machine, nor does an enrolment or a call.

Watched from below, for the libraries that ask on their own are not in Python: see ``watched.c``.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import aiohttp
import pytest

from engine.assets import PORTRAIT, VOICE
from tests.command_helper import GOHD
from tests.server_process import ServerProcess
from tests.webrtc_peer import Caller

_SOURCE = Path(__file__).with_name("watched.c")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler, to watch what a process looks up")
    path = tmp_path_factory.mktemp("watched") / "watched.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, _SOURCE, "-ldl"], check=True)
    return path


@pytest.fixture
def watched(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where child processes write down what they ask for; of users who never agreed to or refused anything."""
    log = tmp_path / "asked"
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WATCHED_LOG", str(log))
    monkeypatch.setenv("HOME", str(tmp_path))
    return log


def _asked(log: Path) -> set[str]:
    return set(log.read_text().split("\n")) - {""} if log.exists() else set()


def test_a_name_and_an_address_would_be_seen(watched: Path) -> None:
    program = (
        "import socket\n"
        "for host in ('outside.example', '192.0.2.1'):\n"
        "    try: socket.create_connection((host, 9), 1)\n"
        "    except OSError: pass\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ)
    assert _asked(watched) == {"name outside.example", "address 192.0.2.1"}


def test_a_film_asks_for_nothing(watched: Path, tmp_path: Path) -> None:
    voice = tmp_path / "voice.wav"
    with wave.open(str(VOICE)) as whole, wave.open(str(voice), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(whole.getframerate() // 2))
    subprocess.run([*GOHD, "render", str(PORTRAIT), str(voice), "-o", str(tmp_path / "film.mp4")], check=True)
    assert (tmp_path / "film.mp4").stat().st_size > 1000
    assert _asked(watched) == set()


@pytest.mark.parametrize("command", ["doctor", "weights compile --target cpu", "camera --list"])
def test_a_command_asks_for_nothing(watched: Path, command: str) -> None:
    subprocess.run([*GOHD, *command.split()], check=True, stdin=subprocess.DEVNULL)
    assert _asked(watched) == set()


async def test_an_enrolment_and_a_call_ask_for_nothing(watched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.to_thread(ServerProcess, "serve", "--port", "0", "--backend", "geometric")
    monkeypatch.delenv("LD_PRELOAD")  # of this process's own children
    try:
        async with aiohttp.ClientSession() as http:
            async with http.post(
                f"{server.url}/portraits?consent=true",
                data=PORTRAIT.read_bytes(),
                headers={"Content-Type": "image/jpeg"},
            ) as answer:
                assert answer.status == 201
            caller = Caller(http, server.url)
            await caller.connect()
            for _ in range(200):
                if len(caller.frames) > 10:
                    break
                await asyncio.sleep(0.05)
            assert len(caller.frames) > 10
            await caller.hang_up()
    finally:
        assert await asyncio.to_thread(server.stop) == 0
    assert _asked(watched) == set()
