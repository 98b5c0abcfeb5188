"""A peer at a session: it watches and, if it may, speaks and commands over its data channel.

The owner is the one for whom the session was opened: when the owner goes, the session ends. Others come and go.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from aiortc import RTCSessionDescription

from server.config import ServerConfig
from server.live.clock import Clock
from server.live.messages import Control
from server.live.session import LiveSession
from server.metrics import Metrics
from server.webrtc.peers import Peer
from server.webrtc.rtcp_feedback import RtcpFeedback
from server.webrtc.tracks import ViewerTracks

log = logging.getLogger(__name__)


class Viewer:
    """Made for one offer; ``close`` when it is over."""

    def __init__(
        self,
        session: LiveSession,
        clock: Clock,
        config: ServerConfig,
        *,
        speaks: bool,
        owns: bool,
        metrics: Metrics | None = None,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        self._session = session
        self._owns = owns
        self._on_closed = on_closed
        self._metrics = metrics or Metrics()
        self._metrics.viewers(+1)
        height, width = session.frame_size
        feedback = RtcpFeedback(clock, math.sqrt(height * width))
        self.tracks = ViewerTracks(session.timeline, clock, feedback, self._metrics)
        session.add_sink(self.tracks)
        self._voice = session.open_voice(live=True) if speaks else None
        self.peer = Peer(
            session.label,
            clock,
            config,
            tracks=self.tracks,
            on_voice=None if self._voice is None else self._voice.push_frame,
            on_control=self._handle_control,
            on_gone=self._gone,
        )
        self._unsubscribe = session.subscribe(self.peer.send, self.tracks)
        self._remove_close_hook = session.add_close_hook(self.close)
        self._leaving: asyncio.Task[None] | None = None
        self._closed = False

    async def accept(self, offer: RTCSessionDescription) -> str:
        """The answer's SDP for a checked offer.

        Raises:
            Refusal: ``bad_sdp``; the viewer is closed, and the session with it if it was the owner.
        """
        try:
            return await self.peer.accept(offer)
        except BaseException:
            await self.leave("offer refused")
            raise

    async def close(self, reason: str) -> None:
        """Leave; calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._remove_close_hook()
        self._unsubscribe()
        if self._voice is not None:
            self._voice.close()
        await self.peer.close()
        self._session.remove_sink(self.tracks)
        self._metrics.viewers(-1)
        if self._on_closed is not None:
            self._on_closed()

    async def leave(self, reason: str) -> None:
        """Close, and the session too if it is this viewer's."""
        if self._owns:
            await self._session.close(reason)
        else:
            await self.close(reason)

    def _handle_control(self, control: Control) -> None:
        self._session.handle_control(control, self.peer.send)

    def _gone(self, reason: str) -> None:
        if self._owns:
            self._session.end(reason)
        else:
            log.info("session %s: a viewer leaves: %s", self._session.label, reason)
            self._leaving = asyncio.get_running_loop().create_task(self.close(reason))
