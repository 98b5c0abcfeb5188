"""Graphics card, codecs, optional packages, and the way through firewalls."""

from collections.abc import Iterator

import av
import torch
from av.codec.codec import UnknownCodecError

from clients.doctor.machine import Finding, Machine

_ENCODERS = (
    ("libx264", "H.264 of calls and videos"),
    ("libvpx", "VP8 of calls"),
    ("libopus", "audio of calls"),
    ("aac", "audio of videos"),
)
_OPTIONAL = (
    ("onnx", "onnx", "--backend onnx: export of the animator"),
    ("onnxscript", "onnx", "--backend onnx: export of the animator"),
    ("onnxruntime", "onnx", "--backend onnx: the animator on a CPU"),
    ("openvino", "onnx", "--backend onnx: the animator on a CPU, faster"),
    ("tensorrt_rtx", "tensorrt", "--backend tensorrt: engines for RTX cards, built on any machine"),
    ("torch_tensorrt", "torch-tensorrt", "gohd weights compile --via torch-tensorrt, on the card itself"),
    ("triton", "gpu", "kernels on a CUDA device"),
    ("cupy", "gpu", "kernels on a CUDA device"),
    ("pillow_heif", "heic", "portraits in HEIC"),
    ("scipy", "train", "training and evaluation"),
    ("soxr", "train", "training and evaluation"),
    ("tensorboard", "train", "training curves"),
    ("matplotlib", "evaluate", "plots of an evaluation"),
    ("dlib", "pretrained", "open substitutes of the paper's pretrained networks"),
)
"""Import name, extra, what for."""
_TENSORRT = "--backend tensorrt: engines for every card, built on the card itself"

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
_SHORTEST_SECRET = 16


def gpu_findings(machine: Machine, cuda_build: str | None = torch.version.cuda) -> Iterator[Finding]:
    """NVIDIA card, driver, device nodes, and whether torch was built for it. Without a card: one line."""
    cards = [
        path.parent
        for path in machine.find("sys/bus/pci/devices/*/vendor")
        if machine.text(str(path.relative_to(machine.root))) == _NVIDIA
        and (machine.text(str((path.parent / "class").relative_to(machine.root))) or "").startswith(_DISPLAY_CLASS)
    ]
    driver = machine.text("proc/driver/nvidia/version")
    if not cards and driver is None:
        yield Finding("nvidia", "no card; the default avatar runs on the CPU")
        return
    if driver is None:
        yield Finding("nvidia", "there is a card, and no driver for it", machine.install("nvidia"))
        return
    yield Finding("nvidia", driver.splitlines()[0])
    if not machine.find("dev/nvidia[0-9]*"):
        yield Finding("nvidia nodes", "/dev/nvidia0 is not there", "sudo nvidia-modprobe -u -c 0")
    if cuda_build is None:
        yield Finding("torch", "was built without CUDA", "pip install --force-reinstall torch")


def codec_findings(machine: Machine) -> Iterator[Finding]:
    """Encoders of PyAV's libraries."""
    for name, purpose in _ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except UnknownCodecError:
            yield Finding(
                name,
                f"this PyAV has no such encoder ({purpose})",
                "pip install --force-reinstall --only-binary av av",
            )
        else:
            yield Finding(name, f"here ({purpose})")


def package_findings(machine: Machine) -> Iterator[Finding]:
    """Optional Python packages beside those of camera and audio."""
    for module, extra, purpose in _OPTIONAL:
        yield machine.python_package(module, extra, purpose)
    yield machine.python_package("tensorrt", None, _TENSORRT)


def network_findings(machine: Machine) -> Iterator[Finding]:
    """What calls from other networks need of STUN and TURN. Nothing is sent anywhere to find out."""
    secret = machine.environment.get("GOHD_TURN_SECRET")
    here = bool(machine.find("usr/bin/turnserver", "usr/local/bin/turnserver"))
    yield Finding("stun", "callers behind a router: gohd serve --stun stun:HOST:3478 (any STUN server)")
    if secret is None:
        yield Finding(
            "turn",
            "GOHD_TURN_SECRET is not set; needed for callers behind strict firewalls, with a TURN server"
            + (" (coturn is installed here)" if here else " (docker/compose.yaml brings one)"),
            'export GOHD_TURN_SECRET="$(openssl rand -hex 32)"' if here else machine.install("coturn"),
        )
    elif len(secret) < _SHORTEST_SECRET:
        yield Finding(
            "turn",
            "GOHD_TURN_SECRET is too short to be one",
            'export GOHD_TURN_SECRET="$(openssl rand -hex 32)"',
        )
    else:
        yield Finding("turn", "GOHD_TURN_SECRET is set: gohd serve --turn turn:HOST:3478")
