"""One browser's peer connection, with every known hazard of aiortc fenced in.

- Applying an offer or closing may raise anything: contained here, and nothing stays half open.
- A peer that never finishes connecting, or goes silent, is given up after a time limit: aiortc alone would
  wait for ever for the first and half a minute for the second.
- aiortc's queues of received media are unbounded: the voice is always consumed; all other media are refused
  in the answer, so that no receiver is ever started for them.
- One data channel, text only, small messages, a rate limit.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import av
from aiortc import (
    RTCDataChannel,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

from server.config import ServerConfig
from server.live.clock import Clock
from server.live.messages import Control, ErrorEvent, Event, Refusal
from server.protocol import CONTROL_LABEL, encode_event, parse_control
from server.rate_limit import RateLimit
from server.webrtc.aiortc_internals import shorten_jitter_buffer
from server.webrtc.codecs import prefer_video_codecs
from server.webrtc.ice import ice_configuration
from server.webrtc.tracks import ViewerTracks

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 1.5
_WATCH_S = 0.5
_MAX_BUFFERED_BYTES = 64 * 1024


class Peer:
    """Made for one offer. ``on_gone(reason)`` is called once when the peer is lost, on the event loop.

    Without ``on_voice`` the peer only watches: no audio of its own is agreed on.
    """

    def __init__(
        self,
        label: str,
        clock: Clock,
        config: ServerConfig,
        *,
        tracks: ViewerTracks,
        on_voice: Callable[[av.AudioFrame], None] | None,
        on_control: Callable[[Control], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._id = label
        self._clock = clock
        self._tracks = tracks
        self._on_voice = on_voice
        self._on_control = on_control
        self._on_gone = on_gone
        self._connect_timeout_s = config.connect_timeout_s
        self._peer_timeout_s = config.peer_timeout_s
        self._pc = RTCPeerConnection(ice_configuration(config))
        self._channel: RTCDataChannel | None = None
        self._control_rate = RateLimit(per_second=60, burst=120)
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = False
        self._closed = False
        self._pc.on("track", self._on_track)
        self._pc.on("datachannel", self._on_datachannel)
        self._pc.on("connectionstatechange", self._on_state)

    @property
    def connected(self) -> bool:
        return self._pc.connectionState == "connected"

    async def accept(self, offer: RTCSessionDescription) -> str:
        """Apply a checked offer; returns the answer's SDP.

        Raises:
            Refusal: ``bad_sdp``; the connection is closed.
        """
        try:
            video = self._pc.addTransceiver(self._tracks.video, direction="sendonly")
            prefer_video_codecs(video)
            audio = self._add_audio(offer)
            await self._pc.setRemoteDescription(offer)
            for transceiver in self._pc.getTransceivers():
                if transceiver not in (video, audio):
                    transceiver.direction = "inactive"
            if audio is not None and self._on_voice is not None:
                shorten_jitter_buffer(audio.receiver)
            await self._pc.setLocalDescription()
            if video.currentDirection != "sendonly":
                raise ValueError("no video was agreed on")
        except Exception as error:  # aiortc raises whatever its parts raise
            log.info("session %s: offer refused: %s", self._id, type(error).__name__)
            await self.close()
            raise Refusal("bad_sdp", "The session description cannot be used: no connection fits it.") from error
        if self._tracks.feedback is not None:
            self._tracks.feedback.attach(video.sender, None if audio is None else audio.sender)
        self._start(self._watch())
        return self._pc.localDescription.sdp

    def _add_audio(self, offer: RTCSessionDescription) -> RTCRtpTransceiver | None:
        """None where the offer has no audio: aiortc cannot answer with a transceiver that nobody asked for."""
        if "\nm=audio " not in offer.sdp:
            return None
        direction = "sendonly" if self._on_voice is None else "sendrecv"
        return self._pc.addTransceiver(self._tracks.audio, direction=direction)

    def is_remote_ufrag(self, ufrag: str | None) -> bool:
        """Whether candidates with this user fragment belong to the ICE session that runs; None says nothing."""
        return ufrag is None or f"a=ice-ufrag:{ufrag}\r\n" in self._pc.remoteDescription.sdp

    async def add_candidate(self, line: str, mid: str | None) -> None:
        """Learn of another way to the peer (``candidate:...``); one that cannot be used is left out."""
        try:
            candidate = candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid = mid
            await self._pc.addIceCandidate(candidate)
        except Exception as error:  # aiortc raises whatever its parts raise
            log.debug("session %s: candidate left out: %s", self._id, type(error).__name__)

    def send(self, event: Event) -> None:
        """Send on the data channel if it is there and not clogged; else drop the event."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > _MAX_BUFFERED_BYTES:
            return
        with contextlib.suppress(Exception):  # the channel may close at any moment
            channel.send(encode_event(event))

    async def close(self) -> None:
        """End the connection, whatever state it is in; never raises, never takes more than two seconds."""
        if self._closed:
            return
        self._closed = self._gone = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closing = asyncio.ensure_future(self._pc.close())
        await asyncio.wait({closing}, timeout=_CLOSE_TIMEOUT_S)
        if not closing.done() or closing.exception() is not None:
            closing.cancel()
            await self._close_by_hand()
        self._tracks.stop()
        self._pc.remove_all_listeners()

    async def _close_by_hand(self) -> None:
        """Release sockets when ``close`` failed half-way."""
        for transceiver in self._pc.getTransceivers():
            transport: RTCDtlsTransport | None = transceiver.receiver.transport
            for stop in () if transport is None else (transport.stop, transport.transport.stop):
                try:
                    await asyncio.wait_for(stop(), _CLOSE_TIMEOUT_S)
                except Exception as error:
                    log.debug("session %s: while closing: %r", self._id, error)

    def _on_state(self) -> None:
        state = self._pc.connectionState
        log.debug("session %s: connection %s", self._id, state)
        if state in ("failed", "closed"):
            self._lost(f"connection {state}")

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._start(self._consume(track))

    async def _consume(self, track: MediaStreamTrack) -> None:
        """Take the voice as it comes, so that nothing piles up; the track's end is the peer's end."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                break
            if isinstance(frame, av.AudioFrame) and self._on_voice is not None:
                self._on_voice(frame)
        if self.connected:
            self._lost("the peer left")

    def _on_datachannel(self, channel: RTCDataChannel) -> None:
        if channel.label != CONTROL_LABEL or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)

    def _on_message(self, message: str | bytes) -> None:
        try:
            if not self._control_rate.allow(self._clock.now_s()):
                raise Refusal("rate_limited", "Too many control messages.")
            self._on_control(parse_control(message))
        except Refusal as refusal:
            self.send(ErrorEvent(code=refusal.code, message=refusal.message))

    async def _watch(self) -> None:
        """Give up on a peer that does not connect in time, or from which nothing comes any more."""
        started_s = self._clock.now_s()
        heard_s, heard_bytes = started_s, -1
        while True:
            await asyncio.sleep(_WATCH_S)
            now_s = self._clock.now_s()
            if self._tracks.feedback is not None:
                self._tracks.feedback.check_silence()
            received, dtls_closed = await self._transport_state()
            if dtls_closed:
                return self._lost("the peer left")
            if received != heard_bytes:
                heard_s, heard_bytes = now_s, received
            if not self.connected and now_s - started_s > self._connect_timeout_s:
                return self._lost("no connection in time")
            if self.connected and now_s - heard_s > self._peer_timeout_s:
                return self._lost("nothing heard from the peer")

    async def _transport_state(self) -> tuple[int, bool]:
        received, closed = 0, False
        for entry in (await self._pc.getStats()).values():
            if entry.type == "transport":
                received += entry.bytesReceived
                closed = closed or entry.dtlsState == "closed"
        return received, closed

    def _lost(self, reason: str) -> None:
        if not self._gone:
            self._gone = True
            self._on_gone(reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session %s: ended by an error", self._id, exc_info=error)
            self._lost("an error in the connection")
