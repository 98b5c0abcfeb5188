"""``gohd doctor``: the report of the machine and the costs of the networks."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clients.cli.main import app
from clients.doctor import (
    Finding,
    Machine,
    audio_findings,
    camera_findings,
    codec_findings,
    gpu_findings,
    network_findings,
)
from engine.runtime.model_stats import network_costs
from tests.clients.camera_helper import device


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def _machine(root: Path, **more: Any) -> Machine:
    """A Debian with nothing on it, as files in a folder."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian"\n')
    settings: dict[str, Any] = {
        "system": "linux",
        "kernel": "6.1.0-9-amd64",
        "environment": {},
        "installed": lambda _: False,
    }
    return Machine(root=root, **(settings | more))


def _by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def _file(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def _load_module(root: Path, exclusive_caps: str = "Y,N,N,N") -> None:
    _file(root, "sys/module/v4l2loopback/parameters/exclusive_caps", exclusive_caps + "\n")


def _add_camera(root: Path, node: bool = True) -> None:
    _file(root, "sys/devices/virtual/video4linux/video10/name", "GoHD\n")
    (root / "sys/class/video4linux").mkdir(parents=True)
    (root / "sys/class/video4linux/video10").symlink_to(root / "sys/devices/virtual/video4linux/video10")
    if node:
        _file(root, "dev/video10")


def test_doctor_names_what_is_here_and_how_to_install_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name))
    report = _run()
    assert re.search(r"python +3\.\d+", report)
    assert re.search(r"torch +2\.\d+", report)
    assert re.search(r"weights +default: checksums hold", report)
    assert re.search(r"pillow_heif +not installed .*\n +\$ pip install 'gohd-live\[heic\]'", report)
    for package in (
        "onnxruntime",
        "openvino",
        "tensorrt_rtx",
        "torch_tensorrt",
        "tensorrt",
        "triton",
        "cupy",
    ):
        assert re.search(rf"\n  {package} +\S", report)
    for section in ("graphics card", "camera", "audio", "codecs", "network", "optional packages"):
        assert f"\n{section}\n" in report


def test_doctor_runs_none_of_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a program was started")

    for name in ("run", "Popen", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, refuse)
    monkeypatch.setattr(os, "system", refuse)
    assert "optional packages" in _run()


def test_a_module_that_is_not_there_is_installed_and_loaded_by_one_line(tmp_path: Path) -> None:
    found = _by_subject(camera_findings(_machine(tmp_path)))
    command = found["v4l2loopback"].command
    assert command is not None
    assert command.startswith("sudo apt-get install v4l2loopback-dkms linux-headers-6.1.0-9-amd64 && ")
    assert "modprobe v4l2loopback" in command
    assert "exclusive_caps=1" in command
    assert found["pyvirtualcam"].command == "pip install 'gohd-live[camera]'"


@pytest.mark.parametrize("folder", ["lib", "usr/lib"])
def test_a_module_that_is_installed_is_only_loaded(tmp_path: Path, folder: str) -> None:
    _file(tmp_path, f"{folder}/modules/6.1.0-9-amd64/updates/dkms/v4l2loopback.ko.xz")
    command = _by_subject(camera_findings(_machine(tmp_path)))["v4l2loopback"].command
    assert command is not None
    assert command.startswith("sudo modprobe v4l2loopback ")


def test_a_module_of_another_kernel_does_not_count(tmp_path: Path) -> None:
    _file(tmp_path, "lib/modules/5.10.0-1-amd64/updates/dkms/v4l2loopback.ko")
    found = _by_subject(camera_findings(_machine(tmp_path)))
    assert "not installed for 6.1.0-9-amd64" in found["v4l2loopback"].text


@pytest.mark.parametrize(("given", "good"), [("Y,N,N", True), ("1", True), ("N,N,N", False), ("0,0", False)])
def test_exclusive_caps_decides_whether_browsers_see_it(tmp_path: Path, given: str, good: bool) -> None:
    _load_module(tmp_path, given)
    _add_camera(tmp_path)
    finding = _by_subject(camera_findings(_machine(tmp_path)))["exclusive_caps"]
    assert (finding.command is None) == good
    if finding.command is not None:
        assert finding.command.startswith("sudo modprobe -r v4l2loopback && ")


def test_a_camera_that_works_needs_no_command(tmp_path: Path) -> None:
    _load_module(tmp_path)
    _add_camera(tmp_path)
    _file(tmp_path, "etc/modules-load.d/v4l2loopback.conf", "v4l2loopback")
    findings = list(camera_findings(_machine(tmp_path, installed=lambda _: True)))
    assert [finding.subject for finding in findings if finding.command is not None] == []
    assert "images can be sent" in _by_subject(findings)["/dev/video10"].text


def test_a_module_without_devices_or_nodes_is_told(tmp_path: Path) -> None:
    _load_module(tmp_path)
    assert "no device" in _by_subject(camera_findings(_machine(tmp_path)))["cameras"].text
    _add_camera(tmp_path, node=False)
    assert _by_subject(camera_findings(_machine(tmp_path)))["/dev/video10"].command is not None


def test_a_node_that_may_not_be_written_asks_for_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _load_module(tmp_path)
    _add_camera(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    finding = _by_subject(camera_findings(_machine(tmp_path)))["/dev/video10"]
    assert finding.command == 'sudo usermod -aG video "$USER"'


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", "sudo apt-get install libportaudio2"),
        ("ID=fedora\n", "sudo dnf install portaudio"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "sudo zypper install libportaudio2"),
        ("ID=manjaro\nID_LIKE=arch\n", "sudo pacman -S portaudio"),
        ("", "sudo apt-get install libportaudio2"),
    ],
)
def test_commands_are_those_of_the_distribution(tmp_path: Path, release: str, command: str) -> None:
    machine = _machine(tmp_path)
    _file(tmp_path, "etc/os-release", release)
    assert _by_subject(audio_findings(machine, list))["portaudio"].command == command


def test_other_systems_are_sent_to_obs_and_a_cable(tmp_path: Path) -> None:
    machine = _machine(tmp_path, system="darwin")
    assert "OBS" in _by_subject(camera_findings(machine))["camera"].text
    microphone = device(0, "Built-in", inputs=1, default_for=("input",))
    assert "BlackHole" in _by_subject(audio_findings(machine, lambda: [microphone]))["voice cable"].text


def test_audio_cards_microphone_and_cable_are_named(tmp_path: Path) -> None:
    _file(tmp_path, "usr/lib/x86_64-linux-gnu/libportaudio.so.2")
    _file(tmp_path, "proc/asound/cards", " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n   at 0xf7 irq 31\n")
    devices = [device(3, "pipewire", inputs=2, outputs=2, default_for=("input", "output"))]
    found = _by_subject(audio_findings(_machine(tmp_path), lambda: devices))
    assert found["portaudio"].command is None
    assert found["sound cards"].text == "HDA-Intel - HDA Intel PCH"
    assert "3 'pipewire'" in found["microphone"].text
    assert found["voice cable"].command is not None
    assert found["voice cable"].command.startswith("pactl load-module module-null-sink sink_name=gohd_voice")
    devices.append(device(4, "GoHD-voice", outputs=2))
    found = _by_subject(audio_findings(_machine(tmp_path), lambda: devices))
    assert "--audio-out 4" in found["voice cable"].text


def test_a_machine_without_audio_is_told_what_it_lacks(tmp_path: Path) -> None:
    _file(tmp_path, "proc/asound/cards", "--- no soundcards ---\n")
    found = _by_subject(audio_findings(_machine(tmp_path), list))
    assert "none" in found["sound cards"].text
    assert found["microphone"].text.startswith("none")
    assert found["sounddevice"].command == "pip install 'gohd-live[mic]'"
    assert "portaudio19-dev" in str(found["pyaudio"].command)


def _add_card(root: Path, vendor: str = "0x10de", kind: str = "0x030000") -> None:
    _file(root, "sys/bus/pci/devices/0000:01:00.0/vendor", vendor + "\n")
    _file(root, "sys/bus/pci/devices/0000:01:00.0/class", kind + "\n")


def test_a_card_without_driver_node_or_build_is_told_each(tmp_path: Path) -> None:
    machine = _machine(tmp_path)
    assert "no card" in _by_subject(gpu_findings(machine))["nvidia"].text
    _add_card(tmp_path)
    assert _by_subject(gpu_findings(machine))["nvidia"].command == "sudo apt-get install nvidia-driver"
    _file(tmp_path, "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX 570.1\nGCC\n")
    found = _by_subject(gpu_findings(machine, cuda_build=None))
    assert found["nvidia"].text == "NVRM version: NVIDIA UNIX 570.1"
    assert found["nvidia nodes"].command is not None
    assert found["torch"].command is not None
    _file(tmp_path, "dev/nvidia0")
    assert [finding.command for finding in gpu_findings(machine, cuda_build="13.0")] == [None]


def test_the_audio_part_of_a_card_is_no_card(tmp_path: Path) -> None:
    _add_card(tmp_path, kind="0x040300")
    assert "no card" in _by_subject(gpu_findings(_machine(tmp_path)))["nvidia"].text


def test_codecs_of_calls_and_videos_are_here(tmp_path: Path) -> None:
    assert [finding.command for finding in codec_findings(_machine(tmp_path))] == [None] * 4


def test_turn_is_judged_by_its_secret_without_saying_it(tmp_path: Path) -> None:
    assert _by_subject(network_findings(_machine(tmp_path)))["turn"].command == "sudo apt-get install coturn"
    _file(tmp_path, "usr/bin/turnserver")
    assert "openssl" in str(_by_subject(network_findings(_machine(tmp_path)))["turn"].command)
    short = _machine(tmp_path, environment={"GOHD_TURN_SECRET": "abc"})
    assert _by_subject(network_findings(short))["turn"].command is not None
    secret = "0123456789abcdef" * 4
    good = _machine(tmp_path, environment={"GOHD_TURN_SECRET": secret})
    findings = list(network_findings(good))
    assert _by_subject(findings)["turn"].command is None
    assert all(secret not in finding.text for finding in findings)


def test_doctor_prints_the_costs_of_both_presets() -> None:
    report = _run("--models")
    for preset in ("paper preset", "guided_lite preset"):
        assert preset in report
    assert re.search(r"animator decoder +25\.97 M +88\.0980 +frame", report)


def test_paper_networks_have_the_size_of_the_release() -> None:
    costs = {cost.name: cost for cost in network_costs("paper")}
    animator = [cost for name, cost in costs.items() if name.startswith("animator")]
    assert sum(cost.parameters for cost in animator) == 51_554_314
    assert costs["animator decoder"].flop == pytest.approx(88.1e9, rel=0.01)
    assert costs["animator encoder"].flop == pytest.approx(31.3e9, rel=0.02)
    assert costs["pose denoiser"].parameters == pytest.approx(72.8e6, rel=0.01)
    assert costs["pose denoiser"].flop * 3 == pytest.approx(21.8e9, rel=0.05)
    assert costs["lip audio encoder"].flop == pytest.approx(0.2e9, rel=0.3)


def test_lite_networks_keep_the_budget() -> None:
    costs = {cost.name: cost for cost in network_costs("guided_lite")}
    assert costs["animator decoder"].flop <= 1.5e9
    animator = sum(cost.parameters for name, cost in costs.items() if name.startswith("animator"))
    others = [cost.parameters for name, cost in costs.items() if not name.startswith("animator")]
    assert all(2 * parameters <= 16 * 2**20 for parameters in (animator, *others))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset"):
        network_costs("huge")
