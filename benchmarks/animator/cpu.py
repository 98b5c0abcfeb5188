"""The animators on a CPU: one frame by every way to run it, on one thread and on two.

    python -m benchmarks.animator.cpu [--weights FOLDER] [--compiled] [--frames 60] [--json OUT]

Each way runs in a process of its own, one after another, and all of them twice, so that threads and caches of one do
not slow another. The motion is that of the bundled voice; images of its second half are compared with those of eager
float32.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles, timed_ms
from benchmarks.signals import demo_portrait, demo_voice
from engine import load_engine
from engine.animator import FaceAnimatorNetwork, GeometricAnimator
from engine.animator.network.neural import NeuralAnimator, load_network
from engine.animator.network.step import FrameStep
from engine.checkpoint import WeightsFolder, resolve_weights
from engine.portrait import CROP_SIZE
from engine.runtime import export_onnx, step_graph
from engine.runtime.onnx_step import onnxruntime_step
from engine.runtime.openvino_step import openvino_step
from engine.timebase import SAMPLE_RATE_HZ
from train.metrics import peak_signal_to_noise_db

WAYS = (
    "geometric",
    "geometric 512",
    "geometric 1024",
    "eager fp32",
    "onnxruntime fp32",
    "openvino fp32",
    "openvino bf16",
)
COMPILED = ("compiled fp32", "compiled bf16")
_SECONDS, _CHECKED = 6.0, 8
_SEED = 0


def measure(weights: str, frames: int, threads: tuple[int, ...], compiled: bool) -> Report:
    """Milliseconds a frame of every way and number of threads, and how like eager float32 its images are."""
    ways = (*WAYS, *(COMPILED if compiled else ()))
    with tempfile.TemporaryDirectory(prefix="gohd-animator-cpu-") as name:
        folder = Path(name)
        _prepare(folder, weights)
        samples: dict[tuple[str, int], list[float]] = {}
        images: dict[str, np.ndarray] = {}
        for _ in range(2):
            for way in ways:
                for count in threads:
                    found = _in_a_process(folder, weights, way, count, frames)
                    samples.setdefault((way, count), []).extend(found["ms"])
                    images[way] = np.load(folder / f"{way}.npy")
    reference = images["eager fp32"]
    rows = []
    for (way, count), values in samples.items():
        ms = percentiles(values)
        row: Report = {"way": way, "threads": count, "ms": ms, "fps": round(1000 / ms["p50"], 1)}
        if not way.startswith("geometric") and way != "eager fp32":
            row |= _likeness(images[way], reference)
        rows.append(row)
    return {"animator": Path(weights).name, "frames": 2 * frames, "rows": rows}


def _likeness(images: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    errors = np.abs(images.astype(int) - reference.astype(int))
    likeness = [min(peak_signal_to_noise_db(a, b), 100.0) for a, b in zip(images, reference, strict=True)]
    return {"psnr_db": round(float(np.mean(likeness)), 2), "largest_levels": int(errors.max())}


def _prepare(folder: Path, weights: str) -> None:
    """Write what the processes read: the network in its exported form, windows of motion."""
    engine = load_engine()
    avatar = engine.enroll(demo_portrait(CROP_SIZE))
    session = engine.open_session(avatar, seed=_SEED)
    session.set_gaze(0.1, 0.2)
    frames = session.push_pcm(demo_voice(_SECONDS), SAMPLE_RATE_HZ)
    descriptors = np.stack([frame.descriptor for frame in frames])
    network = _network(weights)
    reach = network.config.past_frames + network.config.future_frames
    places = range(len(descriptors) - reach)
    windows = np.stack([descriptors[place : place + reach + 1] for place in places])
    np.savez(folder / "inputs.npz", allow_pickle=False, windows=windows, descriptors=descriptors)
    export_onnx(step_graph(network), folder / "fp32.onnx", dynamic_batch=True)


def _network(weights: str) -> FaceAnimatorNetwork:
    return load_network(WeightsFolder.open(resolve_weights(weights)))[0]


def _in_a_process(folder: Path, weights: str, way: str, threads: int, frames: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.animator.cpu", "--way", way, "--folder", str(folder)]
    command += ["--weights", weights, "--threads", str(threads), "--frames", str(frames)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_way(folder: Path, weights: str, way: str, threads: int, frames: int) -> dict[str, Any]:
    """Time one way in this process and keep its images of the frames that are compared."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    render, count = _renderer(folder, weights, way)
    checked = np.linspace(count // 2, count - 1, _CHECKED).astype(int)
    np.save(folder / f"{way}.npy", np.stack([render(place) for place in checked]))
    shown = iter(range(10**9))
    with torch.inference_mode():
        ms = timed_ms(lambda: render(next(shown) % count), torch.device("cpu"), calls=frames, budget_s=20.0)
    return {"ms": ms}


def _renderer(folder: Path, weights: str, way: str) -> tuple[Callable[[int], np.ndarray], int]:
    """Image of the n-th frame, and how many frames there are."""
    given = np.load(folder / "inputs.npz")
    engine = load_engine(backend="geometric")
    mesh = engine.animator
    assert isinstance(mesh, GeometricAnimator)
    size = int(way.removeprefix("geometric") or CROP_SIZE) if way.startswith("geometric") else CROP_SIZE
    avatar = engine.enroll(demo_portrait(size), size=size)
    if way.startswith("geometric"):
        descriptors = given["descriptors"]
        return lambda place: mesh.render(avatar.prepared, descriptors[place][None]), len(descriptors)
    runner, precision = way.split()
    dtype = torch.bfloat16 if precision == "bf16" and runner == "compiled" else torch.float32
    network = _network(weights)
    step: FrameStep | None = None
    if runner == "onnxruntime":
        step = onnxruntime_step((folder / f"{precision}.onnx").read_bytes())
    elif runner == "openvino":
        exported = (folder / "fp32.onnx").read_bytes()
        step = openvino_step(
            exported, precision="bf16" if precision == "bf16" else "f32", threads=torch.get_num_threads()
        )
    elif runner == "compiled":
        frame = torch.compile(step_graph(network.freeze().to(dtype)).module, dynamic=False)
        step = lambda inputs: frame(*inputs.flat())  # noqa: E731
    guided = network.config.guided
    animator = NeuralAnimator(network, dtype=dtype, step=step, backend=runner, mesh=mesh if guided else None)
    portrait = animator.prepare(avatar.crop, avatar.coefficients)
    windows = given["windows"]
    return lambda place: animator.render(portrait, windows[place]), len(windows)


def show(report: Report) -> None:
    """Print the report as a table."""
    table = Table(
        "way", "threads", "p50 ms", "p95 ms", "fps", "PSNR to eager (dB)", "largest (levels)", title=report["animator"]
    )
    for row in report["rows"]:
        times = (f"{row['ms'][name]:.2f}" for name in ("p50", "p95"))
        likeness = (str(row.get(key, "-")) for key in ("psnr_db", "largest_levels"))
        table.add_row(row["way"], str(row["threads"]), *times, str(row["fps"]), *likeness)
    Console(width=120).print(table)


def _measure(args: argparse.Namespace) -> Report:
    if args.way:
        print(json.dumps(run_way(args.folder, args.weights, args.way, args.threads, args.frames)))
        sys.exit()
    return measure(args.weights, args.frames, (args.threads,) if args.threads else (1, 2), args.compiled)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="default", help="folder with a neural animator")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: two minutes each")
    parser.add_argument("--frames", type=int, default=60, help="of each way, twice")
    parser.add_argument("--threads", type=int, help="only this many")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options, show=show)
