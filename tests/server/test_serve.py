"""The running server as a process of its own: its address, its signals, its end."""

import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clients.cli.main import app
from engine.postprocess import PUBLIC_KEY, WatermarkConfig
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


def _asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ServerConfig:
    """What the command would serve."""
    asked: list[ServerConfig] = []
    monkeypatch.setattr("server.serve", lambda config, **_: asked.append(config))
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 0, done.output
    return asked[0]


def test_the_operators_mark_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _asked(monkeypatch).watermark == WatermarkConfig(tag=0, key=PUBLIC_KEY)
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    config = _asked(monkeypatch, "--tag", "4660", "--key-file", str(tmp_path / "key"))
    assert config.watermark == WatermarkConfig(tag=4660, key=b"0123456789abcdef")


def test_secrets_are_no_part_of_the_settings_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"mark-secret-0123456789")
    secrets = {"GOHD_TOKEN": "token-0123456789abcdef", "GOHD_JWT_SECRET": "jwt-" + "x" * 32}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    config = _asked(monkeypatch, "--key-file", str(tmp_path / "key"))
    assert (config.token, config.jwt_secret) == tuple(secrets.values())
    assert not any(secret in repr(config) for secret in (*secrets.values(), "mark-secret"))


def test_a_key_that_cannot_be_used_is_told_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    for name in ("short", "missing"):
        done = CliRunner().invoke(app, ["serve", "--key-file", str(tmp_path / name)])
        assert done.exit_code == 2
        assert name in re.sub(r"[\s│]", "", done.output)  # the message is wrapped to the terminal's width
