"""Is there a virtual camera that a call will find, and may this user write to it?"""

from collections.abc import Iterator

from clients.camera import list_cameras
from clients.doctor.machine import Finding, Machine

_LOAD = "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=GoHD"
_KEEP = (
    "echo v4l2loopback | sudo tee /etc/modules-load.d/v4l2loopback.conf; echo 'options v4l2loopback devices=1 "
    "exclusive_caps=1 card_label=GoHD' | sudo tee /etc/modprobe.d/v4l2loopback.conf"
)


def camera_findings(machine: Machine) -> Iterator[Finding]:
    """Kernel module, its options, device nodes, permissions, pyvirtualcam."""
    if machine.linux:
        yield from _loopback(machine)
    else:
        yield Finding("camera", "install OBS and start its virtual camera once; pyvirtualcam sends to it")
    yield machine.python_package("pyvirtualcam", "camera", "gohd camera")


def _loopback(machine: Machine) -> Iterator[Finding]:
    if not machine.find("sys/module/v4l2loopback"):
        # Distributions keep kernel modules below /lib or below /usr/lib.
        folders = (f"lib/modules/{machine.kernel}", f"usr/lib/modules/{machine.kernel}")
        if machine.find(*(f"{folder}/**/v4l2loopback.ko*" for folder in folders)):
            yield Finding("v4l2loopback", "the kernel module is installed, not loaded", _LOAD)
        else:
            yield Finding(
                "v4l2loopback",
                f"the kernel module is not installed for {machine.kernel}",
                f"{machine.install('v4l2loopback')} && {_LOAD}",
            )
        return
    yield Finding("v4l2loopback", "the kernel module is loaded")
    yield from _options(machine)
    if not machine.find("etc/modules-load.d/*v4l2loopback*"):
        yield Finding("at boot", "the module will not be loaded at the next start", _KEEP)
    virtual = [camera for camera in list_cameras(machine.root) if camera.virtual]
    if not virtual:
        yield Finding("cameras", "the module has no device", f"sudo modprobe -r v4l2loopback && {_LOAD}")
    for camera in virtual:
        if not machine.find(camera.path.lstrip("/")):
            yield Finding(
                camera.path,
                f"'{camera.name}' has no device node",
                "sudo udevadm trigger --subsystem-match=video4linux",
            )
        elif not camera.writable:
            yield Finding(
                camera.path,
                f"'{camera.name}' may not be written by this user (log out and in after the command)",
                'sudo usermod -aG video "$USER"',
            )
        else:
            yield Finding(camera.path, f"'{camera.name}': images can be sent to it")


def _options(machine: Machine) -> Iterator[Finding]:
    given = machine.text("sys/module/v4l2loopback/parameters/exclusive_caps")
    if given is None:
        yield Finding("exclusive_caps", "cannot be read; Chrome needs it to be 1")
    elif given.split(",")[0] in ("Y", "1"):
        yield Finding("exclusive_caps", "1: browsers list the camera while it is fed")
    else:
        yield Finding(
            "exclusive_caps",
            "0: Chrome and what is made of it will not list the camera",
            f"sudo modprobe -r v4l2loopback && {_LOAD}",
        )
