"""The machine as files, so that tests can make one up in a folder, and the words of its package manager."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_INSTALL = {
    "debian": "sudo apt-get install",
    "fedora": "sudo dnf install",
    "arch": "sudo pacman -S",
    "suse": "sudo zypper install",
}
_PACKAGES = {
    "v4l2loopback": {
        "debian": "v4l2loopback-dkms linux-headers-{release}",
        "fedora": "akmod-v4l2loopback",
        "arch": "v4l2loopback-dkms linux-headers",
        "suse": "v4l2loopback-kmp-default",
    },
    "portaudio": {
        "debian": "libportaudio2",
        "fedora": "portaudio",
        "arch": "portaudio",
        "suse": "libportaudio2",
    },
    "portaudio-build": {
        "debian": "portaudio19-dev gcc python3-dev",
        "fedora": "portaudio-devel gcc python3-devel",
        "arch": "portaudio gcc",
        "suse": "portaudio-devel gcc python3-devel",
    },
    "nvidia": {
        "debian": "nvidia-driver",
        "ubuntu": "ubuntu-drivers-common && sudo ubuntu-drivers install",
        "fedora": "akmod-nvidia",
        "arch": "nvidia",
        "suse": "nvidia-open-driver-G06-signed-kmp-default",
    },
    "coturn": dict.fromkeys(("debian", "fedora", "arch", "suse"), "coturn"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``command`` is what mends it, for the user to run; None where nothing is wrong."""

    subject: str
    text: str
    command: str | None = None


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where to look. The defaults are this machine.

    Attributes:
        root: the folder that holds sys/, proc/, dev/, etc/, lib/ and usr/.
        system: as ``sys.platform``. kernel: as ``uname -r``.
        installed: whether a Python module can be imported.
    """

    root: Path = Path("/")
    system: str = sys.platform
    kernel: str = field(default_factory=platform.release)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    installed: Callable[[str], bool] = _installed

    @property
    def linux(self) -> bool:
        return self.system.startswith("linux")

    def text(self, path: str) -> str | None:
        """A file's text; None where it is not there or may not be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def find(self, *patterns: str) -> list[Path]:
        """Files and folders below the root that fit any of the patterns."""
        return [path for pattern in patterns for path in sorted(self.root.glob(pattern))]

    def install(self, what: str) -> str:
        """The command that installs ``what`` with this distribution's package manager; Debian's where it is unknown."""
        names = self._distribution_names()
        family = next((name for name in names if name in _INSTALL), "debian")
        own = next((name for name in names if name in _PACKAGES[what]), family)
        return f"{_INSTALL[family]} {_PACKAGES[what][own].format(release=self.kernel)}"

    def python_package(self, module: str, extra: str | None, purpose: str) -> Finding:
        """Whether an optional package is there, and the line that installs it: our extra, or its own name."""
        if self.installed(module):
            return Finding(module, f"{_version(module) or 'installed'} ({purpose})")
        what = module if extra is None else f"'gohd-live[{extra}]'"
        return Finding(module, f"not installed ({purpose})", f"pip install {what}")

    def _distribution_names(self) -> list[str]:
        fields = dict(line.split("=", 1) for line in (self.text("etc/os-release") or "").splitlines() if "=" in line)
        names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
        return ["suse" if "suse" in name else name for name in names]


def _version(module: str) -> str | None:
    """Of the distribution that brings the module, whose name may be another."""
    for name in (module.replace("_", "-"), *_distributions().get(module, ())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
