"""Virtual cameras: what the client needs of one, the pyvirtualcam adapter, and what this machine has."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import (
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DeviceNotFound,
    DeviceUnsuitable,
    MissingDependency,
)
from engine.timebase import FRAME_RATE_HZ


class VirtualCamera(Protocol):
    """Shows the last image that it was sent to whoever looks."""

    name: str

    def send(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Show uint8 (height, width, 3). Raises DeviceLost."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraDevice:
    """A video device. ``virtual``: images can be sent to it; else it is a real camera, which only takes them."""

    path: str
    name: str
    virtual: bool
    writable: bool


def list_cameras(root: Path = Path("/")) -> list[CameraDevice]:
    """The video devices that Linux knows, by number; empty on other systems, where OBS has its one camera.

    Args:
        root: where sys/ and dev/ are.
    """
    found = []
    for folder in (root / "sys/class/video4linux").glob("video*"):
        number = folder.name.removeprefix("video")
        if not number.isdigit():
            continue
        node = root / "dev" / folder.name
        try:
            name = (folder / "name").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            name = folder.name
        found.append(
            (
                int(number),
                CameraDevice(
                    path=f"/dev/{folder.name}",
                    name=name,
                    virtual=(root / "sys/devices/virtual/video4linux" / folder.name).is_dir(),
                    writable=os.access(node, os.R_OK | os.W_OK),
                ),
            )
        )
    return [device for _, device in sorted(found, key=lambda entry: entry[0])]


def open_camera(device: str | None, width_px: int, height_px: int) -> VirtualCamera:
    """A virtual camera through pyvirtualcam: v4l2loopback on Linux, OBS elsewhere.

    Args:
        device: "/dev/videoN", or the camera's name on other systems; None takes the first that is free.

    Raises:
        MissingDependency: pyvirtualcam is not installed.
        DeviceNotFound, DeviceBusy, DeviceUnsuitable: the message says what to do.
    """
    try:
        import pyvirtualcam
    except ImportError as error:
        raise MissingDependency("pyvirtualcam is not installed: pip install 'gohd-live[camera]'") from error
    try:
        camera = pyvirtualcam.Camera(width_px, height_px, FRAME_RATE_HZ, device=device)
    except RuntimeError as error:
        raise _fault(device, str(error)) from error
    return _PyVirtualCamera(camera)


class _PyVirtualCamera:
    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self.name = str(camera.device)

    def send(self, rgb: npt.NDArray[np.uint8]) -> None:
        try:
            self._camera.send(rgb)
        except RuntimeError as error:
            raise DeviceLost(
                f"the camera {self.name} takes no more images ({error}); was v4l2loopback unloaded?"
            ) from error

    def close(self) -> None:
        self._camera.close()


def _fault(device: str | None, text: str) -> DeviceError:
    place = device or "a virtual camera"
    lowered = text.casefold()
    if "already in use" in lowered or "busy" in lowered:
        return DeviceBusy(f"{place} is held by another program: close it there, or name another with --device")
    if "permission" in lowered:
        return DeviceUnsuitable(
            f"{place} may not be written by this user: sudo usermod -aG video $USER, then log out and in"
        )
    if device is not None and ("output device" in lowered or "not a v4l2 device" in lowered):
        return DeviceUnsuitable(
            f"{device} is a real camera, or v4l2loopback shows it as one while somebody looks at it: "
            "'gohd camera --list' says which are virtual"
        )
    if sys.platform.startswith("linux"):
        advice = "'gohd doctor' says which command makes one (sudo modprobe v4l2loopback exclusive_caps=1)"
    else:
        advice = "install OBS and start its virtual camera once"
    return DeviceNotFound(f"{place} is not there; {advice}. pyvirtualcam says: {text}")
