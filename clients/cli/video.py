"""The video that ``gohd render`` writes: frames and voice of a session, then a signed manifest beside it."""

import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clients.cli.keys import signing_key
from clients.cli.stopping import stop_request
from engine import Frame, Session
from engine.audio import to_mono_float
from engine.checkpoint import CHECKSUMS
from engine.errors import AudioUnreadable
from engine.files import file_sha256
from engine.media import Mp4Writer, audio_duration_s, read_audio
from engine.postprocess.manifest import write_manifest
from engine.timebase import FRAME_RATE_HZ

_log = logging.getLogger(__name__)


class Voice:
    """Chunks of an audio file at one rate with one or two channels, as a video needs them.

    Raises:
        AudioUnreadable: at the start, or while iterating when the sample rate changes midway.
    """

    def __init__(self, path: Path) -> None:
        chunks = read_audio(path)
        first, self.rate_hz = next(chunks)
        self.channels = 1 if first.ndim == 1 or first.shape[1] == 1 else 2
        self.duration_s = audio_duration_s(path)
        self._chunks = chain([(first, self.rate_hz)], chunks)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """float32 (n,) for one channel, (n, 2) for two, within [-1, 1]."""
        for chunk, rate_hz in self._chunks:
            if rate_hz != self.rate_hz:
                raise AudioUnreadable(
                    f"the audio changes its sample rate from {self.rate_hz} to {rate_hz} Hz midway; convert it first"
                )
            if self.channels == 1:
                yield to_mono_float(chunk)
            elif chunk.ndim == 2 and chunk.shape[1] == 2:
                yield np.clip(chunk, -1.0, 1.0)
            else:
                yield np.stack([to_mono_float(chunk)] * 2, axis=1)


def write_video(session: Session, voice: Voice, output: Path) -> bool:
    """Write the session's frames with the voice; False when Ctrl-C or SIGTERM ended it early.

    What was made by then is kept as a playable file.

    Raises:
        AudioUnreadable, OutputUnwritable: see the message.
    """
    frames = None if voice.duration_s is None else max(1, ceil(voice.duration_s * FRAME_RATE_HZ))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with stop_request() as stopped, progress:
        task = progress.add_task("frames", total=frames)
        with Mp4Writer(output, session.frame_size[::-1], voice.rate_hz, voice.channels) as video:
            for frame in _frames(session, voice, video):
                video.write(frame.rgb, frame.pts_samples)
                progress.advance(task)
                if stopped.is_set():
                    break
    return not stopped.is_set()


def _frames(session: Session, voice: Voice, video: Mp4Writer) -> Iterator[Frame]:
    """Frames of the whole voice; its audio is written to the video on the way."""
    for chunk in voice:
        video.write_audio(chunk)
        yield from session.stream_pcm(chunk, voice.rate_hz)
    yield from session.stream_flush()


def sign_video(video: Path, *, portrait: Path, audio: Path, weights: Path, tag: int) -> None:
    """Write the signed manifest; a video without one is still a video, so a failure is only logged."""
    made = {
        "software": f"gohd-live {version('gohd-live')}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "content": "synthetic: a portrait animated by a voice",
        "visible_label": True,
        "watermark_tag": tag,
        "portrait_sha256": file_sha256(portrait),
        "voice_sha256": file_sha256(audio),
        "weights_sha256": file_sha256(weights / CHECKSUMS),
    }
    try:
        write_manifest(video, made, signing_key())
    except OSError as error:
        _log.warning("no signed manifest beside the video: %s", error)
