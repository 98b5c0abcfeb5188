"""The sessions that run, and whether one more fits. A place is taken before any work is done for it."""

import asyncio
import dataclasses
import secrets
from collections import deque

from server.live.capacity import CpuPerFrame, FrameCost, capacity, cores
from server.live.messages import Refusal
from server.live.session import LiveSession

_RETRY_S = 5
_REMEMBERED = 256
_SURE_FRAMES = 50


class SessionRegistry:
    """``cost`` is what a frame takes by the start-up measurement; until then one session fits.

    ``core_count`` cores are shared by all sessions; ``spent`` measures the CPU that the process takes for a frame.
    """

    def __init__(self, limit: int | None, spent: CpuPerFrame | None = None) -> None:
        self._limit = limit
        self._spent = spent or CpuPerFrame()
        self._frames_gone = 0
        self._places: dict[str, LiveSession | None] = {}
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)
        self.cost: FrameCost | None = None
        self.core_count = cores()
        self.draining = False

    def __len__(self) -> int:
        return len(self._places)

    @property
    def capacity(self) -> int:
        """Sessions that fit at what frames cost now."""
        if self.cost is None:
            return 1
        self._note_spent()
        running = [s for s in self._places.values() if s is not None and s.frames_made >= _SURE_FRAMES]
        cost = self.cost
        if running:
            core_ms = sum(session.worker.core_ms for session in running) / len(running)
            core_ms = max(core_ms, self._spent.milliseconds - cost.encode_ms)
            cost = dataclasses.replace(cost, render_ms=core_ms)
        return capacity(cost, self.core_count, self._limit)

    @property
    def free(self) -> int:
        return 0 if self.draining else max(0, self.capacity - len(self))

    def reserve(self) -> str:
        """Take a place; returns the new session's id.

        Raises:
            Refusal: ``busy`` or ``draining``, with the time after which to try again.
        """
        if self.draining:
            raise Refusal("draining", "This server is about to stop.", retry_after_s=_RETRY_S)
        if len(self._places) >= self.capacity:
            raise Refusal(
                "busy",
                "All places here are taken. Try again when a conversation has ended.",
                retry_after_s=_RETRY_S,
            )
        session_id = secrets.token_urlsafe(16)
        self._places[session_id] = None
        return session_id

    def fill(self, session_id: str, session: LiveSession) -> None:
        self._note_spent()
        self._places[session_id] = session

    def release(self, session_id: str) -> None:
        self._note_spent()
        session = self._places.pop(session_id, None)
        if session is not None:
            self._frames_gone += session.frames_made
            self._ended.append(session_id)
        if not self._places:
            self._spent.forget()

    def find(self, session_id: str) -> LiveSession:
        """Raises Refusal ``not_found``."""
        session = self._places.get(session_id)
        if session is None or session.ending:
            raise Refusal("not_found", "There is no such session.")
        return session

    async def end(self, session_id: str, reason: str) -> None:
        """End a session, and return when it has ended.

        That it has ended by itself meanwhile, as when its peer has gone already, is no mistake of who asks.

        Raises:
            Refusal: ``not_found``.
        """
        session = self._places.get(session_id)
        if session is not None:
            await session.close(reason)
        elif session_id not in self._ended:
            raise Refusal("not_found", "There is no such session.")

    def _note_spent(self) -> None:
        running = sum(session.frames_made for session in self._places.values() if session is not None)
        self._spent.note(self._frames_gone + running)

    async def close_all(self, reason: str) -> None:
        sessions = [session for session in self._places.values() if session is not None]
        await asyncio.gather(*(session.close(reason) for session in sessions), return_exceptions=True)
