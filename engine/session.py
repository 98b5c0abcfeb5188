"""One voice driving one avatar: samples in, finished frames out.

Time is counted in samples and frames. Frame t shows time 640 t of the audio; it is rendered as soon as every stage has
what it needs of the audio after it, which is ``lookahead_ms``:

    samples  ..........|..........|..........|..........|....
    frame                   t           t+1         t+2
    lip window       [=================t===================]      16 mel columns, the last at most 80 ms ahead
    voice flag                                             *      the newest that is within the look-ahead
    pose hop                          [t][t+1][t+2]               three frames at once; prosody two frames behind

Those are the default weights. An animator that sees motion after the shown frame gets ``future_frames`` descriptors
that were waited for, each with a look-ahead of its own, and the newest of them repeated for the rest.

How the audio is cut into chunks never changes a frame: streamed equals offline.

A frame is made in three steps, of which the middle one serves many sessions at once (`engine.batch`):

    listen(chunk) -> jobs         BatchRenderer.render(a job each of many sessions)         postprocess(job) -> Frame

`push_pcm` and `flush` do all of it for one session. `listen` and `postprocess` may run on another thread than `render`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.audio.frontend import AudioFrontend
from engine.avatar import Avatar
from engine.batch.job import FrameJob
from engine.batch.renderer import BatchRenderer, Probe
from engine.batch.session_row import SessionRow
from engine.errors import CommandInvalid, SessionClosed
from engine.motion.descriptor_window import DescriptorWindow
from engine.motion.driver import MotionDriver, MotionInput
from engine.motion.driving_motion import DrivingMotion
from engine.postprocess import Postprocess
from engine.timebase import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, samples_to_ms

_SAMPLES_PER_FLAG = SAMPLE_RATE_HZ // 100


@dataclass(frozen=True, slots=True)
class Frame:
    """One finished frame.

    Attributes:
        rgb: uint8 (size, size, 3) of the avatar, or the size of the whole portrait; labelled and watermarked.
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
    """Opened by ``Engine.open_session``. Not safe to call from two threads at once."""

    def __init__(
        self,
        avatar: Avatar,
        renderer: BatchRenderer,
        postprocess: Postprocess,
        *,
        animator_finishes: bool,
        seed: int,
        drive: DrivingMotion | None = None,
        generate_gaze: bool = False,
        intensity: float = 1.0,
        probe: Probe | None = None,
        voice_level_dbfs: float | None = None,
    ) -> None:
        """As ``Engine.open_session``, which decides how frames are finished.

        Args:
            animator_finishes: ``postprocess`` is not applied, since the animator labels and watermarks as it draws.
        """
        self._postprocess = postprocess
        self._probe = probe or (lambda stage: None)
        self.set_intensity(intensity)
        self._networks, animator = renderer.networks, renderer.animator
        if generate_gaze and self._networks.gaze is None:
            raise CommandInvalid("these weights generate no gaze; set one with set_gaze, or import --gaze")
        stream = self._networks.stream
        self._awaited = min(stream.future_frames, animator.future_frames)
        own = avatar.coefficients
        self.row = SessionRow(
            avatar=avatar,
            driver=MotionDriver(self._networks.mixer, avatar.rest, own, drive=drive, generate_gaze=generate_gaze),
            window=DescriptorWindow(animator.past_frames, animator.future_frames, self._awaited),
            seed=seed,
            generate_gaze=generate_gaze,
            animator_finishes=animator_finishes,
        )
        self._renderer = renderer
        self._audio = AudioFrontend(voice_level_dbfs)
        self._gaze_command: npt.NDArray[np.float32] | None = None
        self._pose_moves = True
        self._lookahead_samples = (
            stream.lookahead_samples(self._networks.hop_frames) + self._awaited * SAMPLES_PER_FRAME
        )
        self._next = 0
        self._next_descriptor = 0
        self._first_heard = 0
        self._generation = 0
        self._closed = False

    @property
    def lookahead_ms(self) -> float:
        """How far the audio must be ahead of a frame, in milliseconds, resampling included."""
        return samples_to_ms(self._lookahead_samples + self._audio.resampler_delay_samples)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return self._postprocess.frame_size

    @property
    def generation(self) -> int:
        """Generation of the frames to come: 0, or what the last ``interrupt`` returned."""
        return self._generation

    @property
    def next_pts_samples(self) -> int:
        """Place at 16 kHz of the next sample that is pushed; an interrupt sets it back to the next frame."""
        return self._first_heard * SAMPLES_PER_FRAME + self._audio.samples

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
        """As ``push_pcm``, but gives each frame as soon as it is rendered: long chunks need little memory."""
        self._check_open()
        for block in self._audio.blocks(chunk, sample_rate_hz):
            self._audio.hear(block)
            self._probe("audio")
            while self._ready(self._next):
                yield self._render()

    def listen(self, chunk: npt.ArrayLike, sample_rate_hz: int) -> list[FrameJob]:
        """As ``push_pcm``, but only ask for the frames: a job each, for the session's renderer, in order.

        Jobs that a later ``interrupt`` makes stale need not be rendered. Raises as ``push_pcm`` does.
        """
        self._check_open()
        jobs = []
        for block in self._audio.blocks(chunk, sample_rate_hz):
            self._audio.hear(block)
            while self._ready(self._next):
                jobs.append(self._job())
        return jobs

    def render(self, job: FrameJob) -> None:
        """Render one job by itself."""
        self._renderer.render([job])

    def postprocess(self, job: FrameJob) -> Frame:
        """The finished frame of a rendered job that was ``shown``. Raises the job's ``error``, if it has one."""
        if job.error is not None:
            raise job.error
        assert job.rgb is not None, "the job has no image: it was not rendered, or not shown"
        rgb = job.rgb if job.row.animator_finishes else self._postprocess.apply(job.rgb)
        self._probe("finish")
        return Frame(rgb, job.index, job.pts_samples, job.descriptor, job.speaking, job.generation)

    def flush(self) -> list[Frame]:
        """End the utterance: give the frames up to the end of the audio, as if silence followed.

        The session stays open; audio pushed later follows that silence.
        """
        return list(self.stream_flush())

    def stream_flush(self) -> Iterator[Frame]:
        """As ``flush``, one frame at a time."""
        self._check_open()
        self._audio.hear(self._audio.drain())
        last = self._first_heard + -(-self._audio.samples // SAMPLES_PER_FRAME)
        silence = np.zeros(_SAMPLES_PER_FLAG, dtype=np.float32)
        while self._next < last:
            while not self._ready(self._next):
                self._audio.hear(silence)
            yield self._render()

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

    def interrupt(self, generation: int | None = None) -> int:
        """Stop speaking: drop audio not shown yet, ease the mouth to rest.

        Args:
            generation: the number that the following jobs and frames carry, larger than before; None counts on by one.

        Returns:
            the generation.
        """
        self._check_open()
        generation = self._generation + 1 if generation is None else generation
        if generation <= self._generation:
            raise ValueError(f"generation {generation} is not after {self._generation}")
        self._generation = generation
        self._audio = AudioFrontend(self._audio.level_dbfs)
        self._first_heard = self._next_descriptor = self._next
        return self._generation

    def close(self) -> None:
        """End the session; calling it again does nothing. Its row in a shared renderer is freed by ``leave`` there."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("this session has ended; open another with engine.open_session")

    def _needs(self, descriptor: int) -> tuple[int, int]:
        """How many mel columns and voice flags of the present audio a descriptor needs."""
        return self._networks.stream.needs(descriptor - self._first_heard, self._networks.hop_frames)

    def _ready(self, index: int) -> bool:
        columns, flags = self._needs(index + self._awaited)
        return columns <= self._audio.columns_end and flags <= self._audio.flags_end

    def _speaking(self, descriptor: int) -> bool:
        _, flags = self._needs(descriptor)
        return self._audio.speaking(flags - 1)

    def _render(self) -> Frame:
        job = self._job()
        self.render(job)
        return self.postprocess(job)

    def _job(self) -> FrameJob:
        """The next frame's job, with the inputs of the descriptors that no earlier job has asked for."""
        last = self._next + self._awaited
        job = FrameJob(
            row=self.row,
            generation=self._generation,
            index=self._next,
            inputs=tuple(self._input(descriptor) for descriptor in range(self._next_descriptor, last + 1)),
            intensity=self._intensity,
            speaking=self._speaking(self._next),
        )
        self._next_descriptor, self._next = last + 1, self._next + 1
        return job

    def _input(self, descriptor: int) -> MotionInput:
        return MotionInput.heard(
            self._networks,
            self._audio,
            descriptor - self._first_heard,
            index=descriptor,
            speaking=self._speaking(descriptor),
            gaze_command=self._gaze_command,
            pose_moves=self._pose_moves,
        )
