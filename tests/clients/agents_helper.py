"""A speaker with the fake engine, and a clock that stands still while the engine works."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clients.agents.speaker import AvatarChunk, Speaker
from tests.fake_engine import FakeSession
from tests.steerable_clock import SteerableClock

LOUD = 20_000


def fake_speaker(session: Any = None) -> tuple[Speaker, FakeSession, SteerableClock]:
    session = FakeSession(object(), 0.0) if session is None else session
    clock = SteerableClock()
    speaker = Speaker(session, clock)
    clock.before_jump = speaker.settled
    return speaker, session, clock


def tone(seconds: float, rate_hz: int = 48_000) -> npt.NDArray[np.int16]:
    """Loud all the way through: a square wave of 200 Hz."""
    time = np.arange(round(seconds * rate_hz))
    return np.where(time * 400 // rate_hz % 2, LOUD, -LOUD).astype(np.int16)


def loud(moment: AvatarChunk) -> bool:
    return moment.audio is not None and bool(np.abs(moment.audio.astype(int)).max() > LOUD / 2)


def open_mouth(moment: AvatarChunk) -> bool | None:
    """Whether the fake image shows loud audio (white); None without an image."""
    return None if moment.rgb is None else bool(moment.rgb[0, -1, 0] == 255)


async def moments(speaker: Speaker, count: int) -> list[AvatarChunk]:
    return [await speaker.moment() for _ in range(count)]
