"""The video that ``gohd render`` writes: frames and voice of a session, then a signed manifest beside it."""

import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from math import ceil
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clients.cli.keys import signing_key
from clients.cli.stopping import stop_request
from engine import Frame, Session
from engine.audio import to_mono_float
from engine.errors import GohdError, OutputUnwritable
from engine.media import MediaFile, Mp4Writer, audio_duration_s, read_audio
from engine.postprocess.manifest import manifest_path, write_manifest
from engine.timebase import FRAME_RATE_HZ

_log = logging.getLogger(__name__)


class Voice:
    """Chunks of an audio file at one rate with one or two channels, those of its beginning, as a video needs them.

    Raises:
        AudioUnreadable: at the start, or while iterating as `read_audio`.
    """

    def __init__(self, file: MediaFile) -> None:
        chunks = read_audio(file)
        first, self.rate_hz = next(chunks)
        self.channels = 1 if first.ndim == 1 or first.shape[1] == 1 else 2
        self.duration_s = audio_duration_s(file)
        self._chunks = chain([(first, self.rate_hz)], chunks)
        self._resamplers: dict[int, av.AudioResampler] = {}

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """float32 (n,) for one channel, (n, 2) for two, within [-1, 1]."""
        for chunk, rate_hz in self._chunks:
            if self.channels == 1:
                samples = to_mono_float(chunk)
            elif chunk.ndim == 2 and chunk.shape[1] == 2:
                samples = np.clip(chunk, -1.0, 1.0)
            else:
                samples = np.stack([to_mono_float(chunk)] * 2, axis=1)
            yield samples if rate_hz == self.rate_hz else self._resampled(samples, rate_hz)

    def _resampled(self, samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """A link of a chained file that was recorded at another rate."""
        layout = "mono" if self.channels == 1 else "stereo"
        if rate_hz not in self._resamplers:
            self._resamplers[rate_hz] = av.AudioResampler(format="flt", layout=layout, rate=self.rate_hz)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate_hz
        pieces = [piece.to_ndarray() for piece in self._resamplers[rate_hz].resample(frame)]
        joined = np.concatenate(pieces, axis=1) if pieces else np.zeros((1, 0), np.float32)
        return joined.reshape(-1) if self.channels == 1 else joined.reshape(-1, 2)


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


def refuse_inputs(output: Path, **inputs: Path | None) -> None:
    """See before anything is written that ``output`` and the note beside it are none of the inputs, by any name.

    Raises:
        OutputUnwritable: it is one; the message says which.
    """
    if not output.name:
        raise OutputUnwritable("the video needs a name, as film.mp4")
    for written in (output, manifest_path(output)):
        for role, path in inputs.items():
            if path is not None and _same_file(written, path):
                raise OutputUnwritable(f"'{written}' is the {role.replace('_', ' ')}; give the video another name")


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there, or no name of a file
        return False


def sign_video(video: Path, *, portrait_sha256: str, voice_sha256: str, weights_sha256: str, tag: int) -> None:
    """Write the signed manifest; a video without one is still a video, so a failure is only logged.

    The digests are of what was read.
    """
    made = {
        "software": f"gohd-live {version('gohd-live')}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "content": "synthetic: a portrait animated by a voice",
        "visible_label": True,
        "watermark_tag": tag,
        "portrait_sha256": portrait_sha256,
        "voice_sha256": voice_sha256,
        "weights_sha256": weights_sha256,
    }
    try:
        write_manifest(video, made, signing_key())
    except (OSError, GohdError) as error:
        _log.warning("no signed manifest beside the video: %s", error)
