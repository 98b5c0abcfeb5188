"""``gohd render``: a portrait and an audio file become a video."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from math import ceil
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clients.cli.stopping import stop_request
from clients.cli.watermark import signing_key
from engine import Engine, Frame, Session, load_engine
from engine.audio import to_mono_float
from engine.checkpoint import CHECKSUMS
from engine.errors import AudioUnreadable
from engine.media import Mp4Writer, audio_duration_s, read_audio, read_video
from engine.postprocess import WatermarkConfig
from engine.postprocess.manifest import file_sha256, write_manifest
from engine.timebase import FRAME_RATE_HZ

GENERATED = "generated"
_DRIVABLE = ("pose", "expression", "gaze")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """What to render.

    Attributes:
        gaze: (pitch, yaw) in radians; generate_gaze: let it wander as the weights' gaze network says.
        drive: what ``drive_video`` replaces.
        intensity: lambda of section 4.3, 0 (one still neutral face) to 1 (the whole motion).
        frame: "crop" (the head, 256x256) or "full" (the whole portrait).
        marking: what the invisible watermark says, and to whom.
        device, backend: as ``engine.load_engine`` takes them.
    """

    portrait: Path
    audio: Path
    output: Path
    seed: int = 0
    gaze: tuple[float, float] | None = None
    generate_gaze: bool = False
    drive_video: Path | None = None
    drive: tuple[str, ...] = _DRIVABLE
    intensity: float = 1.0
    frame: str = "crop"
    marking: WatermarkConfig = field(default_factory=WatermarkConfig)
    device: str = "auto"
    backend: str = "auto"
    weights: str = "default"


def parse_gaze(text: str | None) -> tuple[float, float] | None:
    """``PITCH,YAW`` in radians; None where none is given or it is to be generated."""
    if text is None or text == GENERATED:
        return None
    try:
        pitch, yaw = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"give two numbers in radians, for example --gaze 0.0,0.4, or --gaze {GENERATED}"
        ) from None
    return pitch, yaw


def parse_drive(text: str) -> tuple[str, ...]:
    """Comma-separated subset of pose, expression, gaze."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in _DRIVABLE]
    if unknown or not names:
        raise typer.BadParameter(f"name any of {', '.join(_DRIVABLE)}, not {text!r}")
    return names


def render_video(request: RenderRequest) -> bool:
    """Write the video; False when Ctrl-C or SIGTERM ended it early, with what was done kept as a playable file.

    Raises:
        PortraitError, AudioUnreadable, VideoUnreadable, OutputUnwritable, WeightsError, BackendUnavailable: see the
            message.
    """
    # Networks and images are small: a second thread costs more than it brings.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sound = read_audio(request.audio)
    engine = load_engine(
        weights=request.weights, device=request.device, backend=request.backend, marking=request.marking
    )
    avatar = engine.enroll(request.portrait)
    drive = None
    if request.drive_video is not None:
        _log.info("reading the motion of %s", request.drive_video)
        drive = engine.read_motion(read_video(request.drive_video)).only(*request.drive)
    session = engine.open_session(
        avatar,
        seed=request.seed,
        drive=drive,
        generate_gaze=request.generate_gaze,
        intensity=request.intensity,
        frame=request.frame,
    )
    if request.gaze is not None:
        session.set_gaze(*request.gaze)
    voice = _Voice(sound)
    seconds = audio_duration_s(request.audio)
    with stop_request() as stopped, _progress() as progress:
        task = progress.add_task("frames", total=None if seconds is None else max(1, ceil(seconds * FRAME_RATE_HZ)))
        with Mp4Writer(request.output, session.frame_size[::-1], voice.rate_hz, voice.channels) as video:
            for frame in _frames(session, voice, video, stopped):
                video.write(frame.rgb, frame.pts_samples)
                progress.advance(task)
    _sign(request, engine)
    _log.info("%s %s", "stopped early; what was made by then is in" if stopped.is_set() else "wrote", request.output)
    return not stopped.is_set()


def _sign(request: RenderRequest, engine: Engine) -> None:
    """Write the signed manifest; a video without one is still a video, so a failure is only told."""
    made = {
        "software": f"gohd-live {version('gohd-live')}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "content": "synthetic: a portrait animated by a voice",
        "visible_label": True,
        "watermark_tag": request.marking.tag,
        "portrait_sha256": file_sha256(request.portrait),
        "voice_sha256": file_sha256(request.audio),
        "weights_sha256": file_sha256(engine.weights_path / CHECKSUMS),
    }
    try:
        write_manifest(request.output, made, signing_key())
    except OSError as error:
        _log.warning("no signed manifest beside the video: %s", error)


class _Voice:
    """The chunks of an audio file at one rate and with one or two channels, as a video needs them."""

    def __init__(self, chunks: Iterator[tuple[NDArray[np.float32], int]]) -> None:
        first, self.rate_hz = next(chunks)
        self.channels = 1 if first.ndim == 1 or first.shape[1] == 1 else 2
        self._chunks = chain([(first, self.rate_hz)], chunks)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for chunk, rate_hz in self._chunks:
            if rate_hz != self.rate_hz:
                raise AudioUnreadable(
                    f"the audio changes its sample rate from {self.rate_hz} to {rate_hz} Hz midway; convert it first"
                )
            mono = to_mono_float(chunk)
            stereo = self.channels == 2 and chunk.ndim == 2 and chunk.shape[1] == 2
            yield (
                np.clip(chunk, -1.0, 1.0)
                if stereo
                else np.stack([mono] * self.channels, 1)
                if self.channels == 2
                else mono
            )


def _frames(session: Session, voice: _Voice, video: Mp4Writer, stopped: Event) -> Iterator[Frame]:
    """Frames of the whole voice, its audio written to the video on the way, until ``stopped``."""
    for chunk in voice:
        video.write_audio(chunk)
        for frame in session.stream_pcm(chunk, voice.rate_hz):
            yield frame
            if stopped.is_set():
                return
    for frame in session.stream_flush():
        yield frame
        if stopped.is_set():
            return


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
