"""How well the invisible watermark hides and survives: PSNR, time, bits after codecs and resizing, false positives.

    python -m benchmarks.media.watermark --portraits FOLDER [--unmarked FOLDER ...] [--json OUT]

Each portrait speaks the demo voice for eight seconds; its raw frames are marked, encoded at the rates of the server and
below, decoded and read. ``--unmarked`` names folders of ordinary videos and images: every one of their frames, and its
mirror image, is read alone, and none may be called marked.
"""

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles
from engine import Avatar, Engine, load_engine
from engine.assets import VOICE
from engine.errors import GohdError
from engine.media import read_audio, read_video
from engine.portrait import CROP_SIZE, CROP_SIZES, load_image
from engine.postprocess import FOUND_SCORE, SMALLEST_SIDE_PX, VisibleLabel, Watermark, WatermarkDetector
from train.data.readers.portraits import PORTRAIT_SUFFIXES

TAG = 0xABCD
FRAMES = 200
CASES = (
    ("as made", "", 0, 1.0),
    ("H.264 900 kbit/s", "libx264", 900_000, 1.0),
    ("H.264 900 kbit/s, half size", "libx264", 900_000, 0.5),
    ("H.264 200 kbit/s", "libx264", 200_000, 1.0),
    ("H.264 200 kbit/s, half size", "libx264", 200_000, 0.5),
    ("VP8 1 Mbit/s", "libvpx", 1_000_000, 1.0),
    ("VP8 1 Mbit/s, half size", "libvpx", 1_000_000, 0.5),
    ("VP8 200 kbit/s", "libvpx", 200_000, 1.0),
)
OPTIONS = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
}
Rgb = NDArray[np.uint8]


def enrolled(engine: Engine, folder: Path, count: int, size: int) -> list[Avatar]:
    """Avatars of ``count`` portraits from all over the folder whose heads have the pixels for frames of ``size``."""
    pictures = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PORTRAIT_SUFFIXES]
    if not pictures:
        raise SystemExit(f"{folder} holds no picture ({', '.join(sorted(PORTRAIT_SUFFIXES))})")
    stride = max(1, len(pictures) // count)
    in_turn = (picture for first in range(stride) for picture in pictures[first::stride])
    avatars = (engine.enroll(picture, size=size) for picture in in_turn)
    found = list(islice((avatar for avatar in avatars if avatar.size == size), count))
    if not found:
        raise SystemExit(f"none of the {len(pictures)} pictures of {folder} has a head of {size} px")
    return found


def speaking(engine: Engine, avatar: Avatar) -> list[Rgb]:
    """Frames of the session, labelled but not marked."""
    animator, label = engine.animator, VisibleLabel(avatar.size, avatar.size)
    session = engine.open_session(avatar)
    frames: list[Rgb] = []
    for chunk, rate_hz in read_audio(VOICE):
        for frame in session.push_pcm(chunk, rate_hz):
            window = np.repeat(frame.descriptor[None], 1 + animator.past_frames + animator.future_frames, 0)
            frames.append(label.apply(animator.render(avatar.prepared, window)))
    return frames[:FRAMES]


def through(images: list[Rgb], codec: str, rate: int, scale: float) -> list[Rgb]:
    """Encode as a live sender does, and decode again."""
    if not codec:
        return images
    height, width = (round(scale * side) for side in images[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as video:
        stream = video.add_stream(codec, rate=25, options=OPTIONS[codec])
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", rate
        for rgb in images:
            small = rgb if scale == 1 else cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        video.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def ordinary(folder: Path) -> Iterator[Rgb]:
    """Every frame of a folder's videos and images that is large enough, and its mirror image."""
    for path in sorted(folder.iterdir()):
        for rgb in images_of(path):
            if min(rgb.shape[:2]) >= SMALLEST_SIDE_PX:
                yield rgb
                yield np.ascontiguousarray(rgb[:, ::-1])


def images_of(path: Path) -> Iterator[Rgb]:
    try:
        yield load_image(path)
    except GohdError:
        try:
            yield from read_video(path)
        except GohdError:
            return


def measure(portraits_folder: Path, count: int, unmarked: Sequence[Path], most: int, size: int = CROP_SIZE) -> Report:
    """Quality and survival on ``count`` large enough portraits, false positives on at most ``most`` frames."""
    engine = load_engine()
    psnr_db: list[float] = []
    spent_ms: list[float] = []
    bits: dict[str, list[float]] = {name: [] for name, *_ in CASES}
    scores: dict[str, list[float]] = {name: [] for name, *_ in CASES}
    avatars = enrolled(engine, portraits_folder, count, size)
    for avatar in avatars:
        plain = speaking(engine, avatar)
        mark, marked = Watermark(plain[0].shape[0], plain[0].shape[1], TAG), []
        for rgb in plain:
            started = time.perf_counter()
            marked.append(mark.apply(rgb))
            spent_ms.append(1e3 * (time.perf_counter() - started))
            error = np.mean(np.square(marked[-1].astype(np.float64) - rgb))
            psnr_db.append(10 * np.log10(255**2 / error))
        for name, codec, rate, scale in CASES:
            detector = WatermarkDetector()
            for rgb in through(marked, codec, rate, scale):
                detector.push(rgb)
            reading = detector.read()
            bits[name].append(1 - (reading.payload ^ mark.payload).bit_count() / 24)
            scores[name].append(reading.score)

    false_scores = []
    for rgb in islice((rgb for folder in unmarked for rgb in ordinary(folder)), most):
        detector = WatermarkDetector()
        detector.push(rgb)
        false_scores.append(detector.read().score)

    return {
        "psnr_db": {"mean": round(float(np.mean(psnr_db)), 2), "least": round(float(np.min(psnr_db)), 2)},
        "frame_ms": percentiles(spent_ms[5:]),
        "frames_a_video": FRAMES,
        "size_px": size,
        "portraits": len(avatars),
        "cases": {
            name: {"least_share_of_bits": min(bits[name]), "least_score": round(min(scores[name]), 1)} for name in bits
        },
        "unmarked": {
            "frames": len(false_scores),
            "called_marked": sum(score >= FOUND_SCORE for score in false_scores),
            "highest_score": round(max(false_scores), 2) if false_scores else None,
        },
    }


def show(report: Report) -> None:
    """Print the report as a table."""
    table = Table("case", "least share of bits", "least score")
    for name, case in report["cases"].items():
        table.add_row(name, f"{case['least_share_of_bits']:.3f}", f"{case['least_score']:.1f}")
    console = Console()
    console.print(table)
    console.print({key: report[key] for key in ("psnr_db", "frame_ms", "unmarked")})


def _measure(args: argparse.Namespace) -> Report:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return measure(args.portraits, args.count, args.unmarked, args.most, args.size)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--portraits", type=Path, required=True, help="a folder of portraits")
    parser.add_argument("--size", type=int, default=CROP_SIZE, choices=CROP_SIZES, help="side of the frames in pixels")
    parser.add_argument("--count", type=int, default=3, help="how many of them")
    parser.add_argument("--unmarked", type=Path, nargs="*", default=[], help="folders of ordinary videos and images")
    parser.add_argument("--most", type=int, default=10_000, help="ordinary frames at most")


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options, show=show)
