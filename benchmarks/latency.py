"""How fast one live session is on this machine: every stage, frames a second, audio in to frame out.

    python benchmarks/latency.py [--device cpu|cuda] [--backend auto] [--preset NAME] [--size 256] [--seconds 20]

The demo voice is pushed in chunks of 20 ms as a microphone would give them. Nothing sleeps: compute time is measured,
arrival times are those of the chunks, and a frame that is late delays the frames after it. So ``latency_ms`` is the
time from a sound to the frame that shows it, encoded as the server does (H.264), had the chunks come in real time.

``--preset`` takes an animator of that layout with random weights, for its times. ``floor`` is the least time of a frame
of a neural animator by the matrix product and the copy that were measured in the same run.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from aiortc.codecs.h264 import H264Encoder
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

if __package__ in (None, ""):  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gpu.random_animator import floor_ms, weights_of
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import Ceilings, percentiles
from benchmarks.signals import demo_portrait, demo_voice
from engine import Frame, Session, load_engine
from engine.animator import PRESETS, NeuralAnimator
from engine.portrait import CROP_SIZE, CROP_SIZES
from engine.timebase import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from server.live.capacity import cores
from server.webrtc.codecs import configure_codecs

CHUNK_SAMPLES = SAMPLE_RATE_HZ // 50
WARM_UP_FRAMES = 25


class StageClock:
    """Attributes the time since the last mark to the stage that ended."""

    def __init__(self, now_s: Callable[[], float] = time.perf_counter) -> None:
        self.samples_ms: dict[str, list[float]] = defaultdict(list)
        self.now_s = now_s
        self._last_s = now_s()

    def start(self) -> None:
        self._last_s = self.now_s()

    def mark(self, stage: str) -> None:
        now_s = self.now_s()
        self.samples_ms[stage].append((now_s - self._last_s) * 1000)
        self._last_s = now_s


@dataclass(frozen=True, slots=True)
class Paced:
    """What `paced` measured of the frames after the warm-up: when each was there, and the time all of them took."""

    latency_ms: list[float]
    busy_s: float


def paced(session: Session, voice: NDArray[np.float32], encode: Callable[[Frame], None], clock: StageClock) -> Paced:
    """Push ``voice``, float32 (n,) at 16 kHz, as if each chunk came in its time, and ``encode`` what is made of it.

    Nothing of the first `WARM_UP_FRAMES` counts, nor what they made later frames wait for.
    """
    latency_ms: list[float] = []
    busy_s, free_at_ms = 0.0, 0.0
    for start in range(0, len(voice), CHUNK_SAMPLES):
        chunk = voice[start : start + CHUNK_SAMPLES]
        arrival_ms = (start + len(chunk)) * 1000 / SAMPLE_RATE_HZ
        begin_s = clock.now_s()
        clock.start()
        for frame in session.stream_pcm(chunk, SAMPLE_RATE_HZ):
            encode(frame)
            clock.mark("encode")
            if frame.index >= WARM_UP_FRAMES:
                done_ms = max(arrival_ms, free_at_ms) + (clock.now_s() - begin_s) * 1000
                latency_ms.append(done_ms - frame.pts_samples * 1000 / SAMPLE_RATE_HZ)
            elif frame.index == WARM_UP_FRAMES - 1:
                clock.samples_ms.clear()
                busy_s, free_at_ms, begin_s = 0.0, 0.0, clock.now_s()
        spent_s = clock.now_s() - begin_s
        busy_s += spent_s
        free_at_ms = max(arrival_ms, free_at_ms) + spent_s * 1000
    return Paced(latency_ms, busy_s)


def measure(
    device: str, seconds: float, weights: str, threads: int, backend: str = "auto", size: int = CROP_SIZE
) -> Report:
    """Run the session; the figures of the report."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    before_mib = used_mib(device)
    engine = load_engine(weights=weights, device=device, backend=backend, live_cores=cores())
    started = time.perf_counter()
    avatar = engine.enroll(demo_portrait(size), size=size)
    enroll_ms = (time.perf_counter() - started) * 1000
    clock = StageClock()
    session = engine.open_session(avatar, seed=0, probe=clock.mark)
    configure_codecs()
    encoder = H264Encoder()
    voice = demo_voice(seconds + WARM_UP_FRAMES / FRAME_RATE_HZ)

    def encode(frame: Frame) -> None:
        image = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24").reformat(format="yuv420p")
        image.pts, image.time_base = frame.pts_samples, Fraction(1, SAMPLE_RATE_HZ)
        encoder.encode(image, force_keyframe=frame.index == 0)

    measured = paced(session, voice, encode, clock)
    stages = {name: percentiles(samples) for name, samples in clock.samples_ms.items()}
    animator_ms = clock.samples_ms["animator"]
    return {
        "fps": round(len(measured.latency_ms) / measured.busy_s, 2),
        "animator_fps": round(1000 * len(animator_ms) / sum(animator_ms), 2),
        "latency_ms": percentiles(measured.latency_ms),
        "lookahead_ms": session.lookahead_ms,
        "stages_ms": stages,
        "enroll_ms": round(enroll_ms, 1),
        "frames": len(measured.latency_ms),
        "config": {
            "device": device,
            "backend": getattr(engine.animator, "backend", "geometric"),
            "weights": weights,
            "chunk_ms": 20,
            "frame_px": list(session.frame_size),
        },
        "floor": floor_of(engine.animator, device, animator_ms, quick=seconds < 5),
        "memory_mib": round(used_mib(device) - before_mib) if device == "cuda" else None,
    }


def used_mib(device: str) -> float:
    """Memory of the card that is taken, by engines of TensorRT too, which torch does not count; 0 on a CPU."""
    if device != "cuda":
        return 0.0
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


def floor_of(animator: object, device: str, samples_ms: list[float], *, quick: bool) -> Report | None:
    """The least time of a frame, and its share of the measured one; None for an animator without a network."""
    if not isinstance(animator, NeuralAnimator):
        return None
    ceilings = Ceilings.measured(torch.device(device), quick=quick)
    bytes_a_value = next(animator.network.parameters()).element_size()
    least_ms = floor_ms(ceilings, animator.network.config, 1, bytes_a_value)
    share = least_ms / float(np.median(samples_ms))
    return asdict(ceilings) | {"animator_ms": round(least_ms, 4), "share": round(share, 4)}


def show(report: Report) -> None:
    """Print the report as a table."""
    table = Table("stage", "p50 ms", "p95 ms", "p99 ms", title="One live session", title_justify="left")
    for name, row in [*report["stages_ms"].items(), ("audio in -> frame out", report["latency_ms"])]:
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("p50", "p95", "p99")))
    console = Console()
    console.print(table)
    console.print(
        f"whole session {report['fps']} fps, animator alone {report['animator_fps']} fps, "
        f"look-ahead {report['lookahead_ms']} ms, {report['frames']} frames"
    )
    if (floor := report["floor"]) is not None:
        console.print(f"floor of the animator: {floor}", highlight=False)
    console.print(f"{report['hardware']}", highlight=False)


def _measure(args: argparse.Namespace) -> Report:
    with weights_of(args.preset, args.weights) as weights:
        seconds = 1.0 if args.quick else args.seconds
        report = measure(args.device, seconds, weights, args.threads, args.backend, args.size)
    if args.preset is not None:
        report["config"]["weights"] = f"random {args.preset}"
    return report | {"quick": args.quick}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true", help="one second, to see that it runs")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="an animator of this layout with random weights")
    parser.add_argument("--backend", default="auto", help="of a neural animator: eager, graph, tensorrt, onnx, ...")
    parser.add_argument("--size", type=int, default=CROP_SIZE, choices=CROP_SIZES, help="side of the frames in pixels")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the server takes one")


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options, show=show, devices=("cpu", "cuda"), theme="latency")
