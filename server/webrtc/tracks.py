"""The two tracks that leave for one viewer, in step on the session's media clock.

Neither is a queue. The audio track asks the timeline for the block whose moment has come. The video track keeps the few
frames that are ready before their moment and sends the newest that is due; a frame that is overtaken is dropped and
counted. Time stamps come from the frames' sample counts, never from a clock. When aiortc asks a track for its next
frame, it has sent the one before: then copies of that one are sent, on a link that needs them.
"""

import asyncio
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from server.live.block import BLOCK_SAMPLES, MEDIA_RATE_HZ
from server.live.clock import Clock
from server.live.frame import LiveFrame
from server.live.frame_queue import FrameQueue
from server.live.timeline import MediaTimeline
from server.metrics import Metrics
from server.webrtc.rtcp_feedback import RtcpFeedback

VIDEO_CLOCK_HZ = 90_000
SAMPLES_PER_FRAME = 1920

_MAX_READY = 6


class AvatarVideoTrack(MediaStreamTrack):
    """Frames, each at its moment, the latest first. ``offer`` and ``recv`` run on the event loop.

    Counts frames: ``sent``; ``thinned``, which the link could not carry; ``overtaken``.
    """

    kind = "video"

    def __init__(
        self,
        timeline: MediaTimeline,
        clock: Clock,
        feedback: RtcpFeedback | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """
        Args:
            feedback: of the link that the frames go over; None sends them all, in full size.
            metrics: are told how long the first frame took, and the first after each interrupt.
        """
        super().__init__()
        self._timeline = timeline
        self._clock = clock
        self._feedback = feedback
        self._metrics = metrics
        self._opened_s = clock.now_s()
        self._ready = FrameQueue(_MAX_READY)
        self._changed = asyncio.Event()
        self._last_pts = -1
        self._generation = timeline.generation
        self.sent = 0
        self.thinned = 0
        self._out_of_order = 0

    @property
    def overtaken(self) -> int:
        return self._ready.overtaken + self._out_of_order

    def offer(self, frame: LiveFrame) -> None:
        """Hand over a frame.

        Drop policy: stale generations at once; what the link cannot carry; else the oldest past six.
        """
        if frame.generation != self._timeline.generation:
            return
        if self._is_too_much(frame):
            self.thinned += 1
            return
        self._ready.put(frame)
        self._changed.set()

    def drop_stale(self) -> None:
        """After an interrupt: forget what waits; a send that is waiting for its moment looks again."""
        self._ready.clear()
        self._changed.set()

    def stop(self) -> None:
        super().stop()
        self._ready.clear()
        self._changed.set()

    async def recv(self) -> av.VideoFrame:
        if self.sent and self._feedback is not None:
            await self._feedback.resend_image()
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            self._changed.clear()
            frame = self._ready.take(self._timeline.due_place(self._clock.now_s()))
            if frame is not None:
                pts = self._timeline.outgoing_sample(frame.place) * VIDEO_CLOCK_HZ // MEDIA_RATE_HZ
                if pts > self._last_pts:
                    self._last_pts = pts
                    self.sent += 1
                    self._measure(frame.generation)
                    shrink = 1 if self._feedback is None else self._feedback.quality.shrink
                    return _video_frame(frame.rgb, pts, shrink)
                self._out_of_order += 1
                continue
            await self._wait()

    def _is_too_much(self, frame: LiveFrame) -> bool:
        if self._feedback is None:
            return False
        quality = self._feedback.quality
        number = frame.place // SAMPLES_PER_FRAME
        return number % quality.frame_step != 0 or self._clock.now_s() < quality.hold_until_s

    def _measure(self, generation: int) -> None:
        if self._metrics is None:
            return
        now_s = self._clock.now_s()
        if self.sent == 1:
            self._metrics.first_frame(now_s - self._opened_s)
        if generation != self._generation:
            self._generation = generation
            self._metrics.interrupted(now_s - self._timeline.interrupted_s)

    async def _wait(self) -> None:
        """Until the first waiting frame's moment, or until something changes."""
        changed = asyncio.ensure_future(self._changed.wait())
        waits: list[asyncio.Future[Any]] = [changed]
        if (first := self._ready.first()) is not None:
            when_s = self._timeline.departure_s(first.place)
            waits.append(asyncio.ensure_future(self._clock.sleep_until(when_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class AvatarAudioTrack(MediaStreamTrack):
    """The voice, 20 ms a frame at 48 kHz, delayed to match the frames; silence when there is none.

    aiortc's encoders count samples and ignore time stamps, so no block is ever left out. They turn mono into stereo
    3 dB quieter, so the frames carry the one voice on both channels.
    """

    kind = "audio"

    def __init__(self, timeline: MediaTimeline, clock: Clock, feedback: RtcpFeedback | None = None) -> None:
        super().__init__()
        self._timeline = timeline
        self._clock = clock
        self._feedback = feedback
        self._index: int | None = None
        self._silence = np.zeros(BLOCK_SAMPLES, np.int16)

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        if self._index is not None and self._feedback is not None:
            await self._feedback.resend_audio()
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
    """One viewer's pair of tracks: the `FrameSink` of a session that is watched over WebRTC.

    tracks = ViewerTracks(session.timeline, clock)
    session.add_sink(tracks)                        # frames and voice from this moment on
    await tracks.video.recv()
    """

    def __init__(
        self,
        timeline: MediaTimeline,
        clock: Clock,
        feedback: RtcpFeedback | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """As `AvatarVideoTrack`; both tracks share the link that ``feedback`` is about."""
        self.feedback = feedback
        self.video = AvatarVideoTrack(timeline, clock, feedback, metrics)
        self.audio = AvatarAudioTrack(timeline, clock, feedback)

    @property
    def sent(self) -> int:
        return self.video.sent

    @property
    def dropped(self) -> int:
        return self.video.overtaken

    def offer(self, frame: LiveFrame) -> None:
        self.video.offer(frame)

    def drop_stale(self) -> None:
        self.video.drop_stale()

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
