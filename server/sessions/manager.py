"""Opens and finds sessions for every kind of client: page, WHEP, WebSocket, or the same process."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from server.config import ServerConfig
from server.live.clock import Clock, MonotonicClock
from server.live.messages import Refusal
from server.live.session import LiveSession
from server.metrics import Metrics
from server.sessions.engine_thread import EngineLike, EngineThread
from server.sessions.portraits import PortraitStore
from server.sessions.registry import SessionRegistry
from server.webrtc.viewer import Viewer

log = logging.getLogger(__name__)


class SessionManager:
    """One engine, its portraits and its sessions. Belongs to one event loop.

    manager = SessionManager(ServerConfig())
    manager.start(engine_loader(manager.config), portrait)      # loads on a thread of its own
    session = await manager.open()                              # waits for that
    """

    def __init__(self, config: ServerConfig, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self.config = config
        self.clock = clock or MonotonicClock()
        self.metrics = metrics or Metrics()
        self.sessions = SessionRegistry(config.max_sessions)
        self._portraits = PortraitStore(config.max_portraits)
        self._engine: EngineThread | None = None

    def start(self, load: Callable[[], EngineLike], demo_portrait: Path) -> None:
        """Begin to load the engine and the demo face."""
        self._engine = EngineThread(load, demo_portrait, self.clock, self.config.size)

    @property
    def ready(self) -> bool:
        """Whether a session could be opened now, were there a place."""
        return self._engine is not None and self._engine.ready and not self.sessions.draining

    async def wait_loaded(self) -> None:
        """Return when the engine runs; raises what kept it from running."""
        assert self._engine is not None
        await self._engine.wait_loaded()
        self.sessions.cost = self._engine.cost

    async def enroll(self, rgb: npt.NDArray[np.uint8]) -> tuple[str, tuple[str, ...]]:
        """Keep a portrait, uint8 (H, W, 3) RGB.

        Returns its id, and sentences for the user on what may look wrong. Raises ``engine.errors.PortraitError``.
        """
        engine = await self._loaded_engine()
        avatar = await engine.enroll(rgb)
        return self._portraits.add(avatar), avatar.warnings

    async def open(self, portrait: str | None = None, size: int | None = None) -> LiveSession:
        """A running session of a portrait, or of the demo face for None. Close it when it is over.

        Args:
            size: side of the head's frames in pixels, at most the server's; None is the server's.

        Raises:
            Refusal: ``busy``, ``draining``, ``not_ready``, ``not_found``, or ``bad_message`` for a size.
        """
        avatar = None if portrait is None else self._portraits.get(portrait)
        await self._loaded_engine()
        session_id = self.sessions.reserve()
        try:
            session = await self._open(session_id, avatar, size)
        except BaseException:
            self.sessions.release(session_id)
            raise
        self._report()
        self.metrics.session_started()
        return session

    def view(
        self,
        session: LiveSession,
        *,
        speaks: bool,
        owns: bool,
        on_closed: Callable[[], None] | None = None,
    ) -> Viewer:
        """Let a peer watch.

        Raises:
            Refusal: ``busy``: the session has as many viewers as it may have.
        """
        if len(session.sinks) >= self.config.max_viewers:
            raise Refusal("busy", "Too many watch this session already.", retry_after_s=5)
        return Viewer(
            session,
            self.clock,
            self.config,
            speaks=speaks,
            owns=owns,
            metrics=self.metrics,
            on_closed=on_closed,
        )

    async def drain(self) -> None:
        """Take nobody in any more; return when all have left, or when their time is over."""
        self.sessions.draining = True
        deadline_s = self.clock.now_s() + self.config.drain_timeout_s
        while len(self.sessions) and self.clock.now_s() < deadline_s:
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        self.sessions.draining = True
        await self.sessions.close_all("the server stops")
        if self._engine is not None:
            await self._engine.close()

    async def _open(self, session_id: str, avatar: Any, size: int | None) -> LiveSession:
        assert self._engine is not None
        engine_session = await self._engine.open_session(avatar, self.config.seed, size)
        session = LiveSession(
            session_id,
            engine_session,
            self.clock,
            on_closed=self._closed,
            metrics=self.metrics,
            device=self._engine.device,
        )
        self.sessions.fill(session_id, session)
        session.start()
        return session

    def _closed(self, session: LiveSession) -> None:
        self.sessions.release(session.session_id)
        self._report()

    def _report(self) -> None:
        self.metrics.sessions(len(self.sessions), self.sessions.capacity)

    async def _loaded_engine(self) -> EngineThread:
        assert self._engine is not None
        try:
            await asyncio.wait_for(self.wait_loaded(), self.config.load_timeout_s)
        except TimeoutError:
            raise Refusal("not_ready", "The engine is still loading.", retry_after_s=5) from None
        return self._engine
