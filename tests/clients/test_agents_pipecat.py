"""The Pipecat video service in a real pipeline, run by Pipecat's own worker."""

import asyncio
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.clients.agents_helper import fake_speaker, tone
from tests.fake_engine import FakeSession

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pipecat", reason="pipecat-ai is not there: pip install 'gohd-live[pipecat]'")
    from pipecat.frames.frames import (
        EndFrame,
        Frame,
        InterruptionFrame,
        OutputAudioRawFrame,
        OutputImageRawFrame,
        StartFrame,
        TTSAudioRawFrame,
        TTSStartedFrame,
        TTSStoppedFrame,
        TTSTextFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.tests.utils import SleepFrame, run_test
    from pipecat.transports.base_output import BaseOutputTransport
    from pipecat.transports.base_transport import TransportParams

    from clients.agents.pipecat import GohdVideoService

from clients.agents.speaker import Speaker

pytestmark = pytest.mark.filterwarnings("default")


def _speech(seconds: float, rate_hz: int = 24_000) -> list[Frame]:
    return [
        TTSAudioRawFrame(audio=part.tobytes(), sample_rate=rate_hz, num_channels=1, context_id="answer")
        for part in np.array_split(tone(seconds, rate_hz), 10)
    ]


def _white(frame: OutputImageRawFrame) -> bool:
    width, height = frame.size
    return bool(np.frombuffer(frame.image, np.uint8).reshape(height, width, 3)[0, -1, 0] == 255)


async def _run(speaker: Speaker, frames: Sequence[Frame]) -> list[Any]:
    down, _ = await run_test(GohdVideoService(speaker), frames_to_send=frames, start_timeout=30.0)
    return [frame for frame in down if not isinstance(frame, EndFrame)]


async def test_speech_comes_out_with_its_images_and_in_order() -> None:
    speaker, session, _ = fake_speaker()
    text = TTSTextFrame("hello", text_type="sentence")
    sent = [TTSStartedFrame(context_id="answer"), *_speech(0.8), text, TTSStoppedFrame(context_id="answer")]
    came = await _run(speaker, sent)
    sound = [frame for frame in came if isinstance(frame, TTSAudioRawFrame)]
    assert sum(frame.num_frames for frame in sound) / 48_000 == pytest.approx(0.8, abs=0.002)
    assert {(frame.sample_rate, frame.context_id) for frame in sound} == {(48_000, "answer")}
    places = [
        came.index(sent[0]),
        came.index(sound[0]),
        came.index(sound[-1]),
        came.index(text),
        came.index(sent[-1]),
    ]
    assert places == sorted(places)
    for index, frame in enumerate(came):
        if isinstance(frame, OutputImageRawFrame):
            speaks = index + 1 < len(came) and isinstance(came[index + 1], TTSAudioRawFrame)
            assert (_white(frame), frame.sync_with_audio) == (speaks, speaks)
    assert sum(isinstance(frame, OutputImageRawFrame) for frame in came) >= 20
    assert session.closed


async def test_an_interruption_drops_what_was_to_be_said() -> None:
    """In real time: the pipeline must be in the middle of the speech."""
    speaker = Speaker(FakeSession(object(), 0.0))
    stopped = TTSStoppedFrame()
    came = await _run(
        speaker, [*_speech(5.0), stopped, SleepFrame(sleep=1.0), InterruptionFrame(), SleepFrame(sleep=0.5)]
    )
    cut = next(index for index, frame in enumerate(came) if isinstance(frame, InterruptionFrame))
    assert any(isinstance(frame, TTSAudioRawFrame) for frame in came[:cut])
    assert not any(isinstance(frame, TTSAudioRawFrame) for frame in came[cut:])
    after = [frame for frame in came[cut:] if isinstance(frame, OutputImageRawFrame)]
    assert after
    assert not any(_white(frame) or frame.sync_with_audio for frame in after)
    assert stopped not in came
    assert speaker.generation == 1


async def test_the_end_waits_for_the_speech_before_it() -> None:
    speaker, _, _ = fake_speaker()
    came = await asyncio.wait_for(_run(speaker, _speech(1.2)), 60)
    sound = [frame for frame in came if isinstance(frame, TTSAudioRawFrame)]
    assert sum(frame.num_frames for frame in sound) / 48_000 == pytest.approx(1.2, abs=0.002)


class _Screen(BaseOutputTransport):
    """Pipecat's own output transport in front of a loudspeaker and a screen that keep what they were given."""

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        super().__init__(
            TransportParams(
                audio_out_enabled=True,
                audio_out_sample_rate=48_000,
                audio_out_end_silence_secs=0,
                video_out_enabled=True,
                video_out_width=width,
                video_out_height=height,
                video_out_framerate=50,
            )
        )
        self.sounds: list[tuple[float, bool]] = []
        self.images: list[tuple[float, bool]] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        loud = bool(np.abs(np.frombuffer(frame.audio, np.int16).astype(int)).max() > 10_000)
        self.sounds.append((time.monotonic(), loud))
        await asyncio.sleep(frame.num_frames / frame.sample_rate)
        return True

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        self.images.append((time.monotonic(), _white(frame)))
        return True


async def test_pipecats_own_transport_shows_images_with_their_audio() -> None:
    """In real time."""
    service = GohdVideoService(Speaker(FakeSession(object(), 0.0)))
    screen = _Screen(service.frame_size)
    sent = [SleepFrame(sleep=0.5), *_speech(1.2), TTSStoppedFrame(), SleepFrame(sleep=2.0)]
    await run_test(Pipeline([service, screen]), frames_to_send=sent, start_timeout=30.0)
    spoken = [when_s for when_s, loud in screen.sounds if loud]
    shown = [when_s for when_s, white in screen.images if white]
    assert len(spoken) >= 29
    assert len(shown) >= 30
    assert abs(shown[0] - spoken[0]) < 0.15
    assert abs(shown[-1] - spoken[-1]) < 0.15
