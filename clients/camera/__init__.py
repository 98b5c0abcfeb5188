"""A live avatar as a camera, and the voice, held back to fit, as a microphone."""

from clients.camera.commands import parse_command, read_commands
from clients.camera.compositor import Compositor, parse_colour, parse_size
from clients.camera.device import CameraDevice, VirtualCamera, list_cameras, open_camera
from clients.camera.live import Counters, LiveCamera
from clients.camera.playout import VoicePlayout

__all__ = [
    "CameraDevice",
    "Compositor",
    "Counters",
    "LiveCamera",
    "VirtualCamera",
    "VoicePlayout",
    "list_cameras",
    "open_camera",
    "parse_colour",
    "parse_command",
    "parse_size",
    "read_commands",
]
