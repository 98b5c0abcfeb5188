"""MP4 videos (H.264 + AAC) that stay playable whatever happens while they are written.

    while writing   .gohd-<random>.part    fragmented MP4, playable up to its last two seconds at any time
    close           .gohd-<random>.final   the same packets with the index in front (faststart)
                    NAME                   one atomic rename; an older file of that name lives until then

Leaving the `with` block by Ctrl-C or any error closes the video just the same; so does a full disk, with what was
written before it. Video and audio share one clock that starts at 0; the 1024 samples with which AAC begins are taken
away again by the file's edit list.
"""

import logging
import secrets
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from engine.errors import OutputUnwritable
from engine.timebase import FRAME_RATE_HZ, SAMPLE_RATE_HZ

_log = logging.getLogger(__name__)

VIDEO_COMMENT = "AI-generated: gohd-live"
"""The comment tag of every video: says that it is synthetic."""

# Rates that AAC knows (ISO/IEC 14496-3, table 1.18); others become 48 kHz.
_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_KEYFRAME_INTERVAL = 2 * FRAME_RATE_HZ


class Mp4Writer:
    """Writes one video. Use it in a `with` block, or call `close`.

    Args:
        path: target, usually *.mp4; replaced if it is there.
        size: (width, height) in pixels; an odd side gets one more column or row, as H.264 4:2:0 needs.
        audio_rate_hz: rate of the audio given to `write_audio`; None for a video without audio.
        audio_channels: 1 or 2.
        crf: x264's constant quality, 0 (lossless) to 51. 16 keeps the grain of skin: of the sharpness of a face of
            512 px (variance of the Laplacian) 94 %, in 1.4 Mbit/s; 18 keeps 88 % in 1.0.

    Raises:
        OutputUnwritable: the folder is missing or forbidden, the target is no plain file, the disk is full.
            From any method; what was written by then is at `path` if it can be played.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        audio_rate_hz: int | None = SAMPLE_RATE_HZ,
        audio_channels: int = 1,
        crf: int = 16,
    ) -> None:
        if min(size) < 2 or audio_channels not in (1, 2):
            raise ValueError(f"cannot write a video of {size} pixels with {audio_channels} channels")
        target = Path(path)
        if target.exists() and not target.is_file():
            raise OutputUnwritable(f"'{target}' is not a plain file; give the name of an mp4 file")
        if not target.parent.is_dir():
            raise OutputUnwritable(f"the folder '{target.parent}' does not exist; make it first")
        self.path = target
        self._size = size
        self._audio_rate_hz = audio_rate_hz
        self._audio_channels = audio_channels
        self._last_pts = -1
        self._audio_samples = 0
        self._closed = False
        # A link is written through, not replaced.
        self._target = target.resolve()
        # Not made of the name, which may be as long as the file system allows already.
        stem = self._target.parent / f".gohd-{secrets.token_hex(8)}"
        self._part, self._final = Path(f"{stem}.part"), Path(f"{stem}.final")
        try:
            self._container = _open_output(self._part, "frag_keyframe+delay_moov+default_base_moof")
            self._video = _add_video(self._container, size, crf)
            self._audio = _add_audio(self._container, audio_rate_hz, audio_channels) if audio_rate_hz else None
        except (av.FFmpegError, OSError) as cause:
            self._part.unlink(missing_ok=True)
            raise _unwritable(target, cause) from cause

    def write(self, rgb: NDArray[np.uint8], pts_samples: int) -> None:
        """Show `rgb` (uint8 (height, width, 3)) from time `pts_samples` / 16000 s on; times must rise."""
        shape = (self._size[1], self._size[0], 3)
        if rgb.shape != shape or rgb.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 {shape}, got {rgb.dtype} {rgb.shape}")
        if pts_samples <= self._last_pts:
            raise ValueError(f"frame times must rise: {pts_samples} after {self._last_pts}")
        self._last_pts = pts_samples
        odd_rows, odd_columns = rgb.shape[0] % 2, rgb.shape[1] % 2
        if odd_rows or odd_columns:
            rgb = np.pad(rgb, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts = pts_samples
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        self._encode(self._video, frame)

    def write_audio(self, samples: NDArray[np.float32]) -> None:
        """Append audio: float32 (n,) for one channel, (n, 2) for two, in [-1, 1]; it starts at time 0."""
        if self._audio is None:
            raise ValueError("this video was opened without audio")
        if samples.size == 0:
            return
        planes = samples[None] if samples.ndim == 1 else samples.T
        if planes.ndim != 2 or planes.shape[0] != self._audio_channels:
            raise ValueError(f"audio must have {self._audio_channels} channel(s), got {samples.shape}")
        layout = "mono" if self._audio_channels == 1 else "stereo"
        planes = np.ascontiguousarray(np.clip(planes, -1.0, 1.0), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = self._audio_rate_hz
        frame.pts = self._audio_samples
        frame.time_base = Fraction(1, self._audio_rate_hz or SAMPLE_RATE_HZ)
        self._audio_samples += planes.shape[1]
        self._encode(self._audio, frame)

    def close(self) -> None:
        """Finish the video and move it to its name; without a single frame no file is made."""
        if self._closed:
            return
        try:
            if self._last_pts >= 0:
                for stream in filter(None, (self._audio, self._video)):
                    self._container.mux(stream.encode(None))
            self._container.close()
        except (av.FFmpegError, OSError) as cause:
            self._fail(cause)
        self._closed = True
        if self._last_pts < 0:
            self._part.unlink(missing_ok=True)
            return
        try:
            _remux(self._part, self._final)
            self._final.replace(self._target)
        except (av.FFmpegError, OSError) as cause:
            self._fail(cause)
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self.close()
        except OutputUnwritable as second:
            # The first error is the one to tell.
            _log.warning("the video could not be finished: %s", second)

    def _encode(self, stream: Any, frame: Any) -> None:
        if self._closed:
            raise ValueError("the video is closed")
        try:
            self._container.mux(stream.encode(frame))
        except (av.FFmpegError, OSError) as cause:
            self._fail(cause)

    def _fail(self, cause: Exception) -> None:
        """Keep the fragments written so far as the video, if there are any, and raise."""
        if not self._closed:
            self._closed = True
            try:
                self._container.close()
            except (av.FFmpegError, OSError):
                _log.debug("closing after a failed write failed too", exc_info=True)
        self._final.unlink(missing_ok=True)
        kept = _playable(self._part)
        if kept:
            self._part.replace(self._target)
        else:
            self._part.unlink(missing_ok=True)
        fate = "what was written so far is kept" if kept else "nothing is kept"
        raise OutputUnwritable(f"{_unwritable(self.path, cause)}; {fate}") from cause


def _unwritable(path: Path, cause: Exception) -> OutputUnwritable:
    reason = getattr(cause, "strerror", None) or str(cause)
    return OutputUnwritable(f"'{path}' cannot be written: {reason}")


def _open_output(path: Path, flags: str) -> Any:
    container = av.open(str(path), "w", format="mp4", options={"movflags": flags})
    container.metadata["comment"] = VIDEO_COMMENT
    return container


def _add_video(container: Any, size: tuple[int, int], crf: int) -> Any:
    # No B-frames: decoding order is display order, so the track begins at 0 in every player. A weaker deblocking filter
    # keeps 2 % more of a face's sharpness at the same bits.
    options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "deblock": "-2:-2"}
    stream = container.add_stream("libx264", rate=FRAME_RATE_HZ, options=options)
    stream.width, stream.height = (side + side % 2 for side in size)
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, SAMPLE_RATE_HZ)
    context.gop_size = _KEYFRAME_INTERVAL
    context.colorspace = Colorspace.ITU709
    context.color_range = ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return stream


def _add_audio(container: Any, rate_hz: int, channels: int) -> Any:
    rate = rate_hz if rate_hz in _AAC_RATES_HZ else 48_000
    stream = container.add_stream("aac", rate=rate, layout="mono" if channels == 1 else "stereo")
    stream.bit_rate = min(96_000, 4 * rate) * channels
    return stream


def _remux(source: Path, target: Path) -> None:
    """Copy the packets of a fragmented file into one with its index in front."""
    with av.open(str(source), format="mp4") as reader, _open_output(target, "faststart") as writer:
        streams = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams}
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)


def _playable(path: Path) -> bool:
    try:
        with av.open(str(path), format="mp4") as container:
            return next(container.decode(video=0), None) is not None
    except (av.FFmpegError, OSError, IndexError):
        return False
