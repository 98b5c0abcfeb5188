"""A live avatar as a camera, and the voice, held back to fit, as a microphone."""

from clients.camera.canvas import Canvas, parse_colour, parse_size
from clients.camera.clock import Clock, MonotonicClock
from clients.camera.commands import parse_command, read_commands
from clients.camera.device import CameraDevice, VirtualCamera, list_cameras, open_camera
from clients.camera.feed import EngineFeed, Picture
from clients.camera.live import BLOCK_MS, Counters, LiveCamera
from clients.camera.playout import VoicePlayout

__all__ = [
    "BLOCK_MS",
    "CameraDevice",
    "Canvas",
    "Clock",
    "Counters",
    "EngineFeed",
    "LiveCamera",
    "MonotonicClock",
    "Picture",
    "VirtualCamera",
    "VoicePlayout",
    "list_cameras",
    "open_camera",
    "parse_colour",
    "parse_command",
    "parse_size",
    "read_commands",
]
