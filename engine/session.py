"""One voice driving one avatar: samples in, finished frames out.

Time is counted in samples and frames. Frame t shows time 640 t of the audio; it is made as soon as every stage has
what it needs of the audio after it, which is ``lookahead_ms``:

    samples  ..........|..........|..........|..........|....
    frame                   t           t+1         t+2
    lip window       [=================t===================]      16 mel columns, the last at most 80 ms ahead
    voice flag                                             *      the newest that is within the look-ahead
    pose hop                          [t][t+1][t+2]               three frames at once; prosody two frames behind

Those are the default weights. An animator that sees motion after the shown frame gets ``future_frames`` descriptors
that were waited for, each with a look-ahead of its own, and the newest of them held for the rest.

How the audio is cut into chunks never changes a frame: streamed equals offline.

A frame is made in three steps, of which the middle one serves many sessions at once (`engine.batch.renderer`):

    listen(chunk) -> requests     BatchRenderer.make(requests of many sessions) -> made frames     finish(made) -> Frame

`push_pcm` and `flush` do all of it for one session. Listening and finishing may run on another thread than making.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.audio.listener import AudioFrontend
from engine.batch.renderer import BatchRenderer, FrameRequest, MadeFrame, Probe, SessionRow
from engine.errors import CommandInvalid, SessionClosed
from engine.motion.descriptor_window import DescriptorWindow
from engine.motion.driver import MotionDriver, MotionInput
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, samples_to_ms

if TYPE_CHECKING:
    from engine.avatar import Avatar
    from engine.engine import Engine
    from engine.motion.driving_motion import DrivingMotion

_SAMPLES_PER_FLAG = SAMPLE_RATE_HZ // 100


@dataclass(frozen=True, slots=True)
class Frame:
    """One finished image.

    Attributes:
        rgb: uint8 (256, 256, 3), or the size of the whole portrait; labelled and marked.
        index: number of the frame in the session; pts_samples: its time at 16 kHz (640 x index).
        descriptor: (72,) float32, the motion that it shows.
        speaking: whether the voice gate was open.
        generation: counts interrupts; a frame of an older generation is stale.
    """

    rgb: npt.NDArray[np.uint8]
    index: int
    pts_samples: int
    descriptor: npt.NDArray[np.float32]
    speaking: bool
    generation: int


class Session:
    """Made by ``Engine.open_session``. Not safe to call from two threads at once."""

    def __init__(
        self,
        engine: Engine,
        avatar: Avatar,
        *,
        seed: int,
        drive: DrivingMotion | None = None,
        generate_gaze: bool = False,
        intensity: float = 1.0,
        frame: str = "crop",
        probe: Probe | None = None,
        maker: BatchRenderer | None = None,
    ) -> None:
        """``maker``: of many sessions; None gives this one its own."""
        self._engine = engine
        self._probe = probe or _no_probe
        self._finish = engine.finish(avatar, frame)
        self.set_intensity(intensity)
        networks, animator = engine.networks, engine.animator
        if generate_gaze and networks.gaze is None:
            raise CommandInvalid("these weights generate no gaze; set one with set_gaze, or import --gaze")
        self._awaited = min(networks.stream.future_frames, animator.future_frames)
        self.performer = SessionRow(
            avatar,
            MotionDriver(networks, avatar, drive=drive, generate_gaze=generate_gaze),
            DescriptorWindow(animator.past_frames, animator.future_frames, self._awaited),
            seed=seed,
            generate_gaze=generate_gaze,
            finished=frame == "crop",
        )
        self._maker = maker or BatchRenderer(networks, animator, probe=probe)
        self._listener = AudioFrontend()
        self._gaze_command: npt.NDArray[np.float32] | None = None
        self._pose_moves = True
        self._lookahead_samples = (
            networks.stream.lookahead_samples(networks.hop_frames) + self._awaited * SAMPLES_PER_FRAME
        )
        self._next = 0
        self._next_descriptor = 0
        self._first_heard = 0
        self._generation = 0
        self._closed = False

    @property
    def lookahead_ms(self) -> float:
        """How far the audio must be ahead of a frame, in milliseconds, resampling included."""
        return samples_to_ms(self._lookahead_samples + self._listener.held_samples)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return self._finish.frame_size

    @property
    def generation(self) -> int:
        """Number of interrupts so far."""
        return self._generation

    @property
    def next_pts_samples(self) -> int:
        """Place at 16 kHz of the next sample that is pushed; an interrupt sets it back to the next frame."""
        return self._first_heard * SAMPLES_PER_FRAME + self._listener.samples

    def push_pcm(self, chunk: npt.ArrayLike, sample_rate_hz: int) -> list[Frame]:
        """Take a chunk of audio and give the frames that it completes.

        Args:
            chunk: int16, int32 or float32 in [-1, 1], (n,) or (n, channels), any n.
            sample_rate_hz: 8000 to 192000.

        Raises:
            AudioInvalid: the chunk cannot be used; nothing of it was taken and the session goes on.
            SessionClosed: the session has ended.
        """
        return list(self.stream_pcm(chunk, sample_rate_hz))

    def stream_pcm(self, chunk: npt.ArrayLike, sample_rate_hz: int) -> Iterator[Frame]:
        """As ``push_pcm``, but gives each frame as soon as it is made: long chunks need little memory."""
        self._check_open()
        for block in self._listener.blocks(chunk, sample_rate_hz):
            self._listener.hear(block)
            self._probe("audio")
            while self._ready(self._next):
                yield self._make()

    def listen(self, chunk: npt.ArrayLike, sample_rate_hz: int) -> list[FrameRequest]:
        """As ``push_pcm``, but only ask for the frames: they are to be made in order, by the session's maker.

        What a later ``interrupt`` makes stale need not be made. Raises as ``push_pcm`` does.
        """
        self._check_open()
        requests = []
        for block in self._listener.blocks(chunk, sample_rate_hz):
            self._listener.hear(block)
            while self._ready(self._next):
                requests.append(self._request())
        return requests

    def finish(self, made: MadeFrame) -> Frame:
        """Label and mark a made frame."""
        rgb = made.rgb if made.finished else self._finish.apply(made.rgb)
        self._probe("finish")
        request = made.request
        return Frame(rgb, request.index, request.pts_samples, made.descriptor, made.speaking, request.generation)

    def flush(self) -> list[Frame]:
        """End the utterance: give the frames up to the end of the audio, as if silence followed.

        The session stays open; audio pushed later follows that silence.
        """
        return list(self.stream_flush())

    def stream_flush(self) -> Iterator[Frame]:
        """As ``flush``, one frame at a time."""
        self._check_open()
        self._listener.hear(self._listener.drain())
        last = self._first_heard + -(-self._listener.samples // SAMPLES_PER_FRAME)
        silence = np.zeros(_SAMPLES_PER_FLAG, dtype=np.float32)
        while self._next < last:
            while not self._ready(self._next):
                self._listener.hear(silence)
            yield self._make()

    def set_gaze(self, pitch_rad: float, yaw_rad: float) -> None:
        """Look there from the next frame on (camera frame: up and image right are positive, 0, 0 is eye contact).

        Raises:
            CommandInvalid: not two finite numbers within +-pi/2. The mixer keeps them inside what the eyes can do.
        """
        gaze = np.array([pitch_rad, yaw_rad], dtype=np.float32)
        if not np.isfinite(gaze).all() or np.abs(gaze).max() > np.pi / 2:
            raise CommandInvalid(f"gaze must be two angles within +-pi/2 radians, not {pitch_rad}, {yaw_rad}")
        self._gaze_command = gaze

    def clear_gaze(self) -> None:
        """Look again where the portrait looks."""
        self._gaze_command = None

    def set_intensity(self, intensity: float) -> None:
        """Show this much of the motion from the next frame on: 0 a still neutral face, 1 all of it.

        Raises:
            CommandInvalid: not within 0..1.
        """
        if not 0.0 <= intensity <= 1.0:
            raise CommandInvalid(f"intensity must be within 0..1, not {intensity}")
        self._intensity = intensity

    def set_pose(self, moving: bool) -> None:
        """Let the head move, or ease it back to the portrait's own pose and hold it there."""
        self._pose_moves = moving

    def interrupt(self) -> int:
        """Stop speaking: drop audio not shown yet, ease the mouth to rest. Gives the new generation."""
        self._check_open()
        self._generation += 1
        self._listener = AudioFrontend()
        self._first_heard = self._next_descriptor = self._next
        return self._generation

    def close(self) -> None:
        """End the session; calling it again does nothing. What it has at a maker of many is left there."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("this session has ended; open another with engine.open_session")

    def _needs(self, descriptor: int) -> tuple[int, int]:
        networks = self._engine.networks
        return networks.stream.needs(descriptor - self._first_heard, networks.hop_frames)

    def _ready(self, index: int) -> bool:
        columns, flags = self._needs(index + self._awaited)
        return columns <= self._listener.columns_end and flags <= self._listener.flags_end

    def _make(self) -> Frame:
        (made,) = self._maker.make([self._request()])
        if isinstance(made, Exception):
            raise made
        assert made is not None
        return self.finish(made)

    def _request(self) -> FrameRequest:
        """Ask for the next frame, with the descriptors that nobody has asked for yet."""
        last = self._next + self._awaited
        inputs = tuple(self._input(index) for index in range(self._next_descriptor, last + 1))
        request = FrameRequest(
            performer=self.performer,
            generation=self._generation,
            index=self._next,
            inputs=inputs,
            intensity=self._intensity,
        )
        self._next_descriptor, self._next = last + 1, self._next + 1
        return request

    def _input(self, descriptor: int) -> MotionInput:
        _, flags = self._needs(descriptor)
        return MotionInput.heard(
            self._engine.networks,
            self._listener,
            descriptor - self._first_heard,
            index=descriptor,
            speaking=self._listener.speaking(flags - 1),
            gaze_command=self._gaze_command,
            pose_moves=self._pose_moves,
        )


def _no_probe(stage: str) -> None:
    pass
