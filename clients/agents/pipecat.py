"""Pipecat: a video service that stands between the TTS and the transport's output.

    ... -> TTS -> GohdVideoService -> transport.output()

Speech of the TTS goes in; the same speech comes out, delayed, with the images made from it. While something is said,
images are queued with the audio (``sync_with_audio``); else they are shown at once. Frames that follow speech keep
their place behind it, ``EndFrame`` too; system frames never wait. An interruption drops all that waits but what Pipecat
declares uninterruptible.

In the transport's parameters set ``video_out_enabled`` and the size, ``service.frame_size``; leave
``video_out_is_live`` off.
"""

import asyncio

import numpy as np

from clients.agents.speaker import AvatarChunk, Speaker
from clients.agents.speech_queue import VOICE_RATE_HZ
from engine.errors import MissingDependency, SessionClosed

try:
    from pipecat.frames.frames import (
        CancelFrame,
        EndFrame,
        Frame,
        InterruptionFrame,
        OutputImageRawFrame,
        StartFrame,
        SystemFrame,
        TTSAudioRawFrame,
        TTSStoppedFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection
    from pipecat.services.ai_service import AIService
    from pipecat.services.settings import ServiceSettings
except ImportError as error:
    raise MissingDependency("Pipecat is not there: pip install 'gohd-live[pipecat]'") from error


class GohdVideoService(AIService):
    """A speaking face for a Pipecat pipeline. Closes the speaker when the pipeline ends."""

    def __init__(self, speaker: Speaker) -> None:
        super().__init__(settings=ServiceSettings(model=None))
        self._speaker = speaker
        self._context_id: str | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the images, as Pipecat's parameters want them."""
        height, width = self._speaker.frame_size
        return width, height

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is not FrameDirection.DOWNSTREAM:
            await self.push_frame(frame, direction)
        elif isinstance(frame, TTSAudioRawFrame):
            self._context_id = frame.context_id
            samples = np.frombuffer(frame.audio, np.int16).reshape(-1, frame.num_channels)
            self._speaker.push(samples, frame.sample_rate)
        elif isinstance(frame, InterruptionFrame):
            await self._interrupt(frame)
        elif isinstance(frame, SystemFrame) or (self._speaker.quiet and not isinstance(frame, EndFrame)):
            await self.push_frame(frame, direction)
            if isinstance(frame, StartFrame):
                self._watching = self.create_task(self._watch())
        else:
            self._speaker.mark(frame, ends=isinstance(frame, TTSStoppedFrame | EndFrame))

    async def cancel(self, frame: CancelFrame) -> None:
        await super().cancel(frame)
        await self._close()

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._close()

    async def _interrupt(self, frame: InterruptionFrame) -> None:
        dropped = self._speaker.interrupt()
        await self.push_frame(frame)
        for waiting in dropped:
            if isinstance(waiting, Frame) and not waiting.interruptible:
                self._speaker.mark(waiting)

    async def _watch(self) -> None:
        try:
            async for chunk in self._speaker:
                await self._show(chunk)
        except SessionClosed:
            return
        except Exception as error:
            await self.push_error("the avatar engine failed", exception=error, force_treat_as_permanent=True)

    async def _show(self, chunk: AvatarChunk) -> None:
        """Push a chunk. Between two pushes an interruption may come: what is then old is not pushed any more."""
        if chunk.rgb is not None:
            height, width, _ = chunk.rgb.shape
            image = OutputImageRawFrame(image=chunk.rgb.tobytes(), size=(width, height), format="RGB")
            image.sync_with_audio = chunk.audio is not None
            await self.push_frame(image)
        if chunk.audio is not None and chunk.generation == self._speaker.generation:
            await self.push_frame(
                TTSAudioRawFrame(
                    audio=chunk.audio.tobytes(),
                    sample_rate=VOICE_RATE_HZ,
                    num_channels=1,
                    context_id=self._context_id,
                )
            )
        for mark in chunk.marks:
            if isinstance(mark, Frame) and (chunk.generation == self._speaker.generation or not mark.interruptible):
                await self.push_frame(mark)

    async def _close(self) -> None:
        await self._speaker.close()
        if self._watching is not None:
            await self.cancel_task(self._watching)
            self._watching = None
