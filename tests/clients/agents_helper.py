"""A speaker with the fake engine, and a clock that a test turns: it stands still while the engine works."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt

from clients.agents.speaker import AvatarChunk, Speaker
from tests.fake_engine import FakeSession

LOUD = 20_000


class TurnedClock:
    """Jumps to whatever is waited for, once ``speaker`` has nothing left to do."""

    def __init__(self) -> None:
        self.time_s = 100.0
        self.speaker: Speaker | None = None

    def now_s(self) -> float:
        return self.time_s

    async def sleep_until(self, when_s: float) -> None:
        if self.speaker is not None:
            await self.speaker.settled()
        await asyncio.sleep(0)
        self.time_s = max(self.time_s, when_s)


def fake_speaker(session: Any = None) -> tuple[Speaker, FakeSession, TurnedClock]:
    session = FakeSession(object(), 0.0) if session is None else session
    clock = TurnedClock()
    speaker = Speaker(session, clock)
    clock.speaker = speaker
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
