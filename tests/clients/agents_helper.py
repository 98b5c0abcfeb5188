"""A speaker with the fake engine, and a clock that stands still while the engine works."""

import asyncio
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
    clock.before_jump = lambda: settled(speaker)
    return speaker, session, clock


async def settled(speaker: Speaker) -> None:
    """Return when the engine has done all that it was given."""
    while not speaker.worker.idle:
        await asyncio.sleep(0.0005)


def tone(seconds: float, rate_hz: int = 48_000) -> npt.NDArray[np.int16]:
    """Loud all the way through: a square wave of 200 Hz."""
    time = np.arange(round(seconds * rate_hz))
    return np.where(time * 400 // rate_hz % 2, LOUD, -LOUD).astype(np.int16)


def loud(chunk: AvatarChunk) -> bool:
    return chunk.audio is not None and bool(np.abs(chunk.audio.astype(int)).max() > LOUD / 2)


def open_mouth(chunk: AvatarChunk) -> bool | None:
    """Whether the fake image shows loud audio (white); None without an image."""
    return None if chunk.rgb is None else bool(chunk.rgb[0, -1, 0] == 255)


async def chunks(speaker: Speaker, count: int) -> list[AvatarChunk]:
    return [await speaker.next_chunk() for _ in range(count)]
