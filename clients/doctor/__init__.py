"""What a machine has and lacks for calls, cameras and training. It looks at files and prints commands; it runs none."""

from collections.abc import Iterator

from clients.doctor.audio import audio_findings
from clients.doctor.camera import camera_findings
from clients.doctor.installation import installation_findings
from clients.doctor.machine import Finding, Machine
from clients.doctor.media import codec_findings, gpu_findings, network_findings, package_findings

__all__ = [
    "Finding",
    "Machine",
    "audio_findings",
    "camera_findings",
    "codec_findings",
    "gpu_findings",
    "installation_findings",
    "network_findings",
    "package_findings",
    "sections",
]


def sections(machine: Machine) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Title and findings of each part of the report."""
    yield "this machine", installation_findings()
    yield "graphics card", gpu_findings(machine)
    yield "camera", camera_findings(machine)
    yield "audio", audio_findings(machine)
    yield "codecs", codec_findings(machine)
    yield "network", network_findings(machine)
    yield "optional packages", package_findings(machine)
