"""LiveKit: the face as a ``VideoGenerator`` of livekit-agents, and as a worker that joins a room as the agent's avatar.

    agent session --DataStreamAudioOutput--> room --lk.audio_stream--> DataStreamAudioReceiver --.
          ^                                    ^                                                 v
          '--lk.playback_finished, _started----'<--avatar_video, avatar_audio-- AvatarRunner <-- AvatarVideo

Audio leaves only while something is said, so that LiveKit's playback positions count speech alone; video always does.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import numpy as np

from clients.agents.speaker import STEP_S, Speaker
from clients.agents.speech_queue import VOICE_RATE_HZ
from engine.errors import MissingDependency, SessionClosed

try:
    from livekit import rtc
    from livekit.agents.voice.avatar import (
        AudioReceiver,
        AudioSegmentEnd,
        AvatarOptions,
        AvatarRunner,
        DataStreamAudioReceiver,
        VideoGenerator,
    )
except ImportError as error:
    raise MissingDependency("LiveKit is not there: pip install 'gohd-live[livekit]'") from error

_log = logging.getLogger(__name__)

_QUEUE_MS = 80


def avatar_options(speaker: Speaker) -> AvatarOptions:
    """What livekit-agents' ``AvatarRunner`` must know of this face."""
    height, width = speaker.frame_size
    return AvatarOptions(
        video_width=width,
        video_height=height,
        video_fps=1 / STEP_S,
        audio_sample_rate=VOICE_RATE_HZ,
        audio_channels=1,
    )


class AvatarVideo(VideoGenerator):
    """The generator for an ``AvatarRunner``: audio and ends of speech in; video, audio and ends of speech out.

    Does not close the speaker.
    """

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Say this too. Never waits: up to ten minutes of speech are kept."""
        if isinstance(frame, AudioSegmentEnd):
            self._speaker.mark(frame)
            return
        samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
        self._speaker.push(samples, frame.sample_rate)

    def clear_buffer(self) -> None:
        """Be silent at once: nothing that was pushed before leaves any more, and the mouth goes to rest."""
        self._speaker.interrupt()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        async for chunk in self._speaker:
            if chunk.rgb is not None:
                height, width, _ = chunk.rgb.shape
                yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, chunk.rgb.tobytes())
            if chunk.generation == self._speaker.generation and chunk.audio is not None:
                yield rtc.AudioFrame(chunk.audio.tobytes(), VOICE_RATE_HZ, 1, len(chunk.audio))
            if chunk.generation == self._speaker.generation:
                for mark in chunk.marks:
                    if isinstance(mark, AudioSegmentEnd):
                        yield mark


class AvatarWorker:
    """The avatar in a connected room: hears the agent over data streams and publishes image and audio.

    Args:
        room: connected, with a token that ``AvatarSession`` of the agent (or you) made for the avatar's identity.
        speaker: the worker closes it.
        sender_identity: whose voice to speak; the first agent in the room when left out.
        receiver: another way for audio to come, in place of data streams.
    """

    def __init__(
        self,
        room: rtc.Room,
        speaker: Speaker,
        *,
        sender_identity: str | None = None,
        receiver: AudioReceiver | None = None,
    ) -> None:
        self._speaker = speaker
        self._receiver = receiver or DataStreamAudioReceiver(room, sender_identity=sender_identity)
        self._runner = AvatarRunner(
            room,
            audio_recv=self._receiver,
            video_gen=AvatarVideo(speaker),
            options=avatar_options(speaker),
            _queue_size_ms=_QUEUE_MS,
        )
        self._clearing: set[asyncio.Task[None]] = set()

    @property
    def runner(self) -> AvatarRunner:
        return self._runner

    async def run(self) -> None:
        """Be the avatar until the receiver ends, or this task is cancelled."""
        try:
            await self._runner.start()
            # AvatarRunner leaves what its synchroniser holds; up to 80 ms of the old speech would still be heard.
            self._receiver.on("clear_buffer", self._clear_synchroniser)
            await self._runner.wait_for_complete()
        except SessionClosed:
            _log.info("the avatar's speaker was closed")
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave: ends ``run``, frees the engine session. The room stays connected."""
        await self._speaker.close()
        await self._runner.aclose()

    def _clear_synchroniser(self) -> None:
        task = asyncio.get_running_loop().create_task(self._runner.av_sync.clear_queue())
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)
