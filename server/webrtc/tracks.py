"""The two tracks that leave for one viewer, in step on the session's media clock.

Neither is a queue. The audio track asks the timeline for the block whose moment has come. The image track
keeps the few frames that are ready before their moment and sends the newest that is due; a frame that is
overtaken is dropped and counted. Time stamps come from the frames' sample counts, never from a clock. Whoever asks a
track for its next frame has sent the one before: ``on_sent`` is awaited then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from server.live.clock import Clock
from server.live.jitter_buffer import BLOCK_SAMPLES, MEDIA_RATE_HZ
from server.live.timeline import MediaTimeline
from server.webrtc.congestion import Quality

VIDEO_CLOCK_HZ = 90_000
SAMPLES_PER_IMAGE = 1920

_MAX_READY = 6


@dataclass(frozen=True, slots=True)
class Image:
    """A finished frame: ``rgb`` uint8 (H, W, 3); ``media_sample`` at 48 kHz since the timeline's start."""

    rgb: npt.NDArray[np.uint8]
    media_sample: int
    generation: int


class AvatarVideoTrack(MediaStreamTrack):
    """Frames, each at its moment, the latest first. ``offer`` and ``recv`` run on the event loop."""

    kind = "video"

    def __init__(self, timeline: MediaTimeline, clock: Clock) -> None:
        super().__init__()
        self._timeline = timeline
        self._clock = clock
        self._ready: deque[Image] = deque()
        self._changed = asyncio.Event()
        self._last_pts = -1
        self._generation = timeline.generation
        self.on_first_of_generation: Callable[[int], None] | None = None
        self.on_first_frame: Callable[[], None] | None = None
        self.on_sent: Callable[[], Awaitable[None]] | None = None
        self.quality: Quality | None = None
        self.sent = 0
        self.thinned = 0
        self.overtaken = 0
        self.stale = 0

    def offer(self, image: Image) -> None:
        """Hand over a frame.

        Drop policy: stale generations at once; what the link cannot carry (``quality``); else the oldest past six.
        """
        if image.generation != self._timeline.generation:
            self.stale += 1
            return
        if self._is_too_much(image):
            self.thinned += 1
            return
        self._ready.append(image)
        if len(self._ready) > _MAX_READY:
            self._ready.popleft()
            self.overtaken += 1
        self._changed.set()

    def drop_stale(self) -> None:
        """After an interrupt: forget what waits; a send that is waiting for its moment looks again."""
        self.stale += len(self._ready)
        self._ready.clear()
        self._changed.set()

    def stop(self) -> None:
        super().stop()
        self._ready.clear()
        self._changed.set()

    async def recv(self) -> av.VideoFrame:
        if self.sent and self.on_sent is not None:
            await self.on_sent()
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            self._changed.clear()
            image = self._due()
            if image is not None:
                pts = self._timeline.outgoing_sample(image.media_sample) * VIDEO_CLOCK_HZ // MEDIA_RATE_HZ
                if pts > self._last_pts:
                    self._last_pts = pts
                    self.sent += 1
                    self._note(image.generation)
                    return _video_frame(image.rgb, pts, 1 if self.quality is None else self.quality.shrink)
                self.overtaken += 1
                continue
            await self._wait()

    def _is_too_much(self, image: Image) -> bool:
        if self.quality is None:
            return False
        number = image.media_sample // SAMPLES_PER_IMAGE
        return number % self.quality.frame_step != 0 or self._clock.now_s() < self.quality.hold_until_s

    def _note(self, generation: int) -> None:
        if self.sent == 1 and self.on_first_frame is not None:
            self.on_first_frame()
        if generation != self._generation:
            self._generation = generation
            if self.on_first_of_generation is not None:
                self.on_first_of_generation(generation)

    def _due(self) -> Image | None:
        now_s = self._clock.now_s()
        while len(self._ready) > 1 and self._timeline.departure_s(self._ready[1].media_sample) <= now_s:
            self._ready.popleft()
            self.overtaken += 1
        if self._ready and self._timeline.departure_s(self._ready[0].media_sample) <= now_s:
            return self._ready.popleft()
        return None

    async def _wait(self) -> None:
        """Until the first waiting frame's moment, or until something changes."""
        changed = asyncio.ensure_future(self._changed.wait())
        waits: list[asyncio.Future[Any]] = [changed]
        if self._ready:
            when_s = self._timeline.departure_s(self._ready[0].media_sample)
            waits.append(asyncio.ensure_future(self._clock.sleep_until(when_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class AvatarAudioTrack(MediaStreamTrack):
    """The voice, 20 ms a frame at 48 kHz, delayed to match the image; silence when there is none.

    aiortc's encoders count samples and ignore time stamps, so no block is ever left out. They turn mono into stereo
    3 dB quieter, so the frames carry the one voice on both channels.
    """

    kind = "audio"

    def __init__(self, timeline: MediaTimeline, clock: Clock) -> None:
        super().__init__()
        self._timeline = timeline
        self._clock = clock
        self._index: int | None = None
        self.on_sent: Callable[[], Awaitable[None]] | None = None
        self._silence = np.zeros(BLOCK_SAMPLES, np.int16)

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        if self._index is not None and self.on_sent is not None:
            await self.on_sent()
        if self._index is None:
            self._index = self._timeline.outgoing_index(self._clock.now_s())
        else:
            self._index += 1
        await self._clock.sleep_until(self._timeline.outgoing_due_s(self._index))
        if self.readyState != "live":
            raise MediaStreamError
        block = self._timeline.outgoing_audio(self._index)
        samples = self._silence if block is None else block.samples
        frame = av.AudioFrame(format="s16", layout="stereo", samples=BLOCK_SAMPLES)
        frame.planes[0].update(samples.repeat(2).tobytes())
        frame.sample_rate = MEDIA_RATE_HZ
        frame.pts = self._index * BLOCK_SAMPLES
        frame.time_base = Fraction(1, MEDIA_RATE_HZ)
        return frame


class ViewerTracks:
    """What one viewer gets of a session: its own pair of tracks."""

    def __init__(self, timeline: MediaTimeline, clock: Clock) -> None:
        self.video = AvatarVideoTrack(timeline, clock)
        self.audio = AvatarAudioTrack(timeline, clock)

    def stop(self) -> None:
        self.video.stop()
        self.audio.stop()


def _video_frame(rgb: npt.NDArray[np.uint8], pts: int, shrink: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    if shrink > 1:
        frame = frame.reformat(width=frame.width // shrink, height=frame.height // shrink)
    frame.pts = pts
    frame.time_base = Fraction(1, VIDEO_CLOCK_HZ)
    return frame
