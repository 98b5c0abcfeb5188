"""Lines on standard input that steer the avatar while it is live.

gaze PITCH,YAW | gaze off      where to look, radians; off: where the portrait looks
intensity 0..1                 how much of the motion to show
head on | off                  whether the head moves
"""

import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any

from engine.errors import CommandInvalid

Command = Callable[[Any], object]
"""Called with the engine's session, on its thread."""

_log = logging.getLogger(__name__)
_POLL_S = 0.2
_USAGE = "say 'gaze PITCH,YAW', 'gaze off', 'intensity X' or 'head on|off'"


def parse_command(line: str) -> Command:
    """Raises CommandInvalid for what is none of the above; the session checks the numbers' range."""
    match line.split():
        case ["gaze", "off"]:
            return lambda session: session.clear_gaze()
        case ["gaze", angles]:
            pitch, yaw = _numbers(angles, 2)
            return lambda session: session.set_gaze(pitch, yaw)
        case ["intensity", value]:
            (intensity,) = _numbers(value, 1)
            return lambda session: session.set_intensity(intensity)
        case ["head", ("on" | "off") as state]:
            return lambda session: session.set_pose(state == "on")
    raise CommandInvalid(f"{line.strip()!r} is no command: {_USAGE}")


def read_commands(stop: threading.Event, obey: Callable[[Command], None]) -> threading.Thread | None:
    """Obey lines of standard input on a thread until ``stop``; None on systems where that cannot be waited for."""
    if sys.platform == "win32":
        return None
    try:
        source = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    thread = threading.Thread(target=_read, args=(source, stop, obey), name="commands", daemon=True)
    thread.start()
    return thread


def _read(source: int, stop: threading.Event, obey: Callable[[Command], None]) -> None:
    rest = b""
    while not stop.is_set():
        # Polled, so that the end of the program never waits for a line.
        if not select.select([source], [], [], _POLL_S)[0]:
            continue
        try:
            data = os.read(source, 4096)
        except OSError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[-4096:]
        for line in lines:
            text = line.decode(errors="replace")
            if not text.strip():
                continue
            try:
                command = parse_command(text)
            except CommandInvalid as error:
                _log.warning("%s", error)
            else:
                obey(_forgiving(command))


def _forgiving(command: Command) -> Command:
    """A command whose numbers are out of range is told, and the session goes on."""

    def call(session: Any) -> None:
        try:
            command(session)
        except CommandInvalid as error:
            _log.warning("%s", error)

    return call


def _numbers(text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise CommandInvalid(f"{text!r} should be {count} number{'s' * (count > 1)}: {_USAGE}")
    return numbers
