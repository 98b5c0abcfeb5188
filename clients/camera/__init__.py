"""A live avatar as a camera, and the voice, held back to fit, as a microphone."""

from clients.camera.clock import Clock, MonotonicClock
from clients.camera.commands import parse_command, read_commands
from clients.camera.compositor import Compositor, parse_colour, parse_size
from clients.camera.device import CameraDevice, VirtualCamera, list_cameras, open_camera
from clients.camera.feed import EngineFeed, Image
from clients.camera.live import BLOCK_MS, Counters, LiveCamera
from clients.camera.playout import VoicePlayout

__all__ = [
    "BLOCK_MS",
    "CameraDevice",
    "Clock",
    "Compositor",
    "Counters",
    "EngineFeed",
    "Image",
    "LiveCamera",
    "MonotonicClock",
    "VirtualCamera",
    "VoicePlayout",
    "list_cameras",
    "open_camera",
    "parse_colour",
    "parse_command",
    "parse_size",
    "read_commands",
]
