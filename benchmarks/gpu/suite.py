"""All GPU measurements in one run of under ten minutes.

    python -m benchmarks.gpu.suite [--device cuda] [--out benchmarks/results]
    python -m benchmarks.gpu.suite --device cpu --quick        a small network, to see that it runs

    ceilings    matrix product and copy: what the card does at best
    engines     TensorRT engines of both presets for this card: seconds, MiB
    steps       window to finished images by every backend at batch 1, and at batch 16: ms, fps, share of the ceiling
                and of the floor, memory, error against eager float32 and `engine.postprocess`
    stages      where the eager step's time goes
    naive       the yardstick of benchmarks/gpu/naive_animator.py, in the same run
    poses       a hop of the pose denoiser with guidance, eager and captured
    live        one session by benchmarks/latency.py, both presets with random weights
    children    programs of their own: sessions at 25 fps, the kernels, compute-sanitizer

The most important sections run first, and the report is written after each. ``targets`` lists the project's targets and
whether this run meets them; what this machine cannot run is listed with the reason, and what failed with its traceback:
the others go on, and the suite exits with 1. Weights are random: times do not depend on them.
"""

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.children import children
from benchmarks.gpu.naive_animator import naive_network
from benchmarks.gpu.random_animator import (
    SMALL,
    floor_ms,
    frame_flop,
    random_network,
    seeded,
    weights_of,
)
from benchmarks.gpu.report import markdown, targets
from benchmarks.latency import measure, used_mib
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import Ceilings, percentiles, timed_ms
from engine import Avatar, load_engine
from engine.animator import (
    PRESETS,
    FaceAnimatorConfig,
    FaceAnimatorNetwork,
    GeometricAnimator,
    NeuralAnimator,
    NeuralPortrait,
)
from engine.animator.mesh.guide import outside_face
from engine.animator.network.step import FrameInputs, eager_step, to_bytes
from engine.assets import PORTRAIT
from engine.errors import BackendUnavailable, MissingDependency
from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.window import PoseWindow, PoseWindowConfig
from engine.motion.space.coefficients import DESCRIPTOR_SIZE
from engine.postprocess import Postprocess, WatermarkConfig
from engine.postprocess.graph import PostprocessGraph, watermark_pattern
from engine.runtime import EngineCache, FrameCompiler, neural_animator
from engine.runtime.tensorrt_package import present_target
from train.images import to_network

CHECKSUM = "random weights of benchmarks"
BATCH = 16


class Suite:
    """One run: gathers rows, and reasons for what could not run."""

    def __init__(self, device: torch.device, quick: bool, minutes: float, cache: EngineCache) -> None:
        self.device, self.quick, self.minutes, self.cache = device, quick, minutes, cache
        self.started = time.perf_counter()
        self.calls, self.budget_s = (3, 1.0) if quick else (500, 6.0)
        self.presets = {"small": SMALL, "guided_lite": PRESETS["guided_lite"]} if quick else PRESETS
        self.backends = ("tensorrt", "graph", "eager") if device.type == "cuda" else ("eager", "onnx")
        self.skipped: list[Report] = []
        self.failed: list[Report] = []
        self.ceilings = Ceilings.measured(device, quick=quick)

    def run(self, without: tuple[str, ...] = ()) -> Iterator[Report]:
        """The report after each section; those of ``without`` and those to come are empty in it."""
        sections: dict[str, Callable[[], list[Report]]] = {
            "engines": self.engines,
            "naive": self.naive,
            "poses": self.poses,
            "steps": self.steps,
            "children": self.children,
            "stages": self.stages,
            "live": self.live,
            # Last, for compiling takes minutes.
            "compiled": lambda: self.steps(("compiled",) if self.device.type == "cuda" else ()),
        }
        rows: dict[str, list[Report]] = {name: [] for name in sections}
        for name, section in sections.items():
            if name not in without:
                try:
                    rows[name] = section()
                except Exception:
                    self._note_failure(name)
            yield self._report(rows)

    def _report(self, rows: dict[str, list[Report]]) -> Report:
        report: Report = {
            "quick": self.quick,
            "gpu_versions": gpu_versions(),
            "ceilings": dataclasses.asdict(self.ceilings),
            **{name: found for name, found in rows.items() if name != "compiled"},
            "steps": rows["steps"] + rows["compiled"],
        }
        return report | {
            "targets": targets(report),
            "skipped": self.skipped,
            "failed": self.failed,
            "seconds": round(time.perf_counter() - self.started, 1),
        }

    def engines(self) -> list[Report]:
        rows: list[Report] = []
        for preset, config in self.presets.items():
            self._attempt(rows, f"engine of {preset}", partial(self._engine, preset, config))
        return rows

    def _engine(self, preset: str, config: FaceAnimatorConfig) -> Report:
        target = present_target() or "sm86"  # without a card tensorrt-rtx builds for that of the README
        compiler = FrameCompiler(random_network(config), CHECKSUM, cache=self.cache)
        begin = time.perf_counter()
        network = compiler.exported()
        exported = time.perf_counter()
        package, frame = compiler.tensorrt(target)
        return {
            "preset": preset,
            "target": target,
            "package": f"{package.via} {package.version}",
            "export_s": round(exported - begin, 2),
            "build_s": round(time.perf_counter() - exported, 2),
            "onnx_mib": round(len(network.payload) / 2**20, 1),
            "engine_mib": round(len(frame.payload) / 2**20, 1),
        }

    def steps(self, backends: tuple[str, ...] | None = None) -> list[Report]:
        rows: list[Report] = []
        for preset, config in self.presets.items():
            for backend in self.backends if backends is None else backends:
                for count in (1, BATCH):
                    what = f"{preset}, {backend}, batch {count}"
                    self._attempt(rows, what, partial(self._step, preset, config, backend, count))
        return rows

    def _step(self, preset: str, config: FaceAnimatorConfig, backend: str, rows: int) -> Report:
        before_mib = self._used_mib()
        network = random_network(config)
        animator = neural_animator(
            network, CHECKSUM, backend=backend, device=self.device, cache=self.cache, mesh=self._mesh(config)
        )
        portraits, window_BTD = self._inputs(animator.network, rows)
        render = partial(animator.render_batch, portraits, window_BTD, finished=[animator.finishes] * rows)
        error = np.abs(
            np.stack(render()).astype(int) - self._expected(config, rows, finished=animator.finishes).astype(int)
        )
        frame_ms = self._percentiles(render)
        like = portraits[0].identity_code
        with torch.inference_mode():
            given = FrameInputs(
                like.repeat(rows, 1),
                torch.from_numpy(window_BTD).to(like),
                like.new_ones(rows),
                tuple(maps.repeat(rows, 1, 1, 1) for maps in (*portraits[0].features, *animator.network.blank_guide())),
                like.new_ones(rows) if animator.finishes else None,
            )
            step_ms = self._percentiles(partial(animator.step, given))
        tflops = rows * frame_flop(config) / step_ms["p50"] / 1e9
        least_ms = floor_ms(self.ceilings, config, rows, like.element_size())
        return {
            "preset": preset,
            "backend": backend,
            "batch": rows,
            "frame_ms": frame_ms,
            "fps": round(rows * 1000 / frame_ms["p50"], 1),
            "step_ms": step_ms,
            "tflops": round(tflops, 3),
            "share_of_matrix_ceiling": round(tflops / self.ceilings.matrix_tflops, 4),
            "share_of_floor": round(least_ms / step_ms["p50"], 4),
            "finished": animator.finishes,
            "memory_mib": round(self._used_mib() - before_mib),
            "error_levels": {"largest": int(error.max()), "mean": round(float(error.mean()), 4)},
        }

    def stages(self) -> list[Report]:
        rows = []
        for preset, config in self.presets.items():
            dtype = torch.float16 if self.device.type == "cuda" else torch.float32
            network = random_network(config).freeze().to(self.device, dtype)
            (portrait,), window_BTD = self._inputs(network, 1)
            features = (*portrait.features, *network.blank_guide())
            window = torch.from_numpy(window_BTD).to(self.device, dtype)
            with torch.inference_mode():
                latent = network.navigate(portrait.identity_code, window)
                image = network.decoder(latent, features)
                rgb = to_bytes(image)
                finish = PostprocessGraph(config.image_size).to(self.device)
                pattern = watermark_pattern(WatermarkConfig()).to(self.device)
                one = torch.ones(1, device=self.device)
                parts: dict[str, Callable[[], object]] = {
                    "window to latent": partial(network.navigate, portrait.identity_code, window),
                    "decoder": partial(network.decoder, latent, features),
                    "bytes": partial(to_bytes, image),
                    "label and mark": partial(finish, rgb, one, pattern),
                    "to the host": rgb.cpu,
                }
                rows += [
                    {"preset": preset, "stage": stage, "ms": self._percentiles(call, share=0.25)}
                    for stage, call in parts.items()
                ]
        return rows

    def naive(self) -> list[Report]:
        """In float32, as it was published, and on a card in half precision, as the others are."""
        dtypes = (torch.float32, torch.float16) if self.device.type == "cuda" else (torch.float32,)
        unguided = {preset: config for preset, config in self.presets.items() if not config.guided}
        rows: list[Report] = []
        for preset, config in unguided.items():
            for dtype in dtypes:
                self._attempt(rows, f"naive {preset}, {dtype}", partial(self._naive, preset, config, dtype))
        return rows

    def _naive(self, preset: str, config: FaceAnimatorConfig, dtype: torch.dtype) -> Report:
        network = naive_network(config, random_network(config).state_dict()).to(self.device, dtype)
        step = eager_step(network)
        (portrait,), window_BTD = self._inputs(network, 1)  # frozen networks encode for themselves alone
        window = torch.from_numpy(window_BTD).to(self.device, dtype)
        one = torch.ones(1, device=self.device, dtype=dtype)
        with torch.inference_mode():

            def call() -> Tensor:
                return step(FrameInputs(portrait.identity_code, window, one, portrait.features)).cpu()

            error = (call().int() - torch.from_numpy(self._expected(config, 1)).int()).abs()
            frame_ms = self._percentiles(call)
        return {
            "preset": preset,
            "dtype": str(dtype).removeprefix("torch."),
            "frame_ms": frame_ms,
            "largest_error": int(error.max()),
        }

    def poses(self) -> list[Report]:
        rows: list[Report] = []
        layout = DenoiserConfig.lite() if self.quick else DenoiserConfig.paper()
        with seeded():
            denoiser = PoseDenoiser(dataclasses.replace(layout, initial_flag=True))
        denoiser = denoiser.eval().requires_grad_(False).to(self.device)
        for hop in (3, 5):
            window = PoseWindow(denoiser, PoseWindowConfig(hop=hop))
            state = window.init_state(1, self.device)
            initial_BC = torch.zeros(1, layout.channels, device=self.device)
            noise_NBHC = window.draw_hop(torch.Generator().manual_seed(0))[:, None].to(self.device)
            prosody_BHM = torch.zeros(1, hop, layout.prosody_size, device=self.device)
            hop_ms = self._percentiles(partial(window.step, prosody_BHM, initial_BC, noise_NBHC, state), share=0.5)
            name = f"{window.config.steps} steps, guidance, window {window.config.window}"
            rows.append({"hop_frames": hop, "sampler": name, "hop_ms": hop_ms})
        return rows

    def live(self) -> list[Report]:
        rows: list[Report] = []
        for preset in self.presets if not self.quick else ():
            for backend in self.backends:
                self._attempt(rows, f"live session, {preset}, {backend}", partial(self._live, preset, backend))
        return rows

    def _live(self, preset: str, backend: str) -> Report:
        with weights_of(preset, "") as weights:
            figures = measure(self.device.type, 5.0, weights, 1, backend)
        kept = ("fps", "animator_fps", "latency_ms", "lookahead_ms", "stages_ms")
        return {"preset": preset, "backend": backend} | {key: figures[key] for key in kept}

    def children(self) -> list[Report]:
        left_s = self.minutes * 60 - (time.perf_counter() - self.started)
        rows, skipped, failed = children(self.device.type, quick=self.quick, budget_s=left_s)
        self.skipped += skipped
        self.failed += failed
        return rows

    def _inputs(self, network: FaceAnimatorNetwork, rows: int) -> tuple[list[NeuralPortrait], np.ndarray]:
        """Portraits as the encoder leaves them, and windows; the same for every backend."""
        config = network.config
        rng = np.random.RandomState(0)
        rgb = rng.randint(0, 256, (8, 8, 3)).astype(np.uint8)
        rgb = rgb.repeat(config.image_size // 8, 0).repeat(config.image_size // 8, 1)
        like = next(network.parameters())
        with torch.inference_mode():
            x = to_network(torch.from_numpy(rgb).to(self.device)[None])
            code, features = network.encode(x.to(like.dtype))
        window = rng.randn(rows, config.window_frames, DESCRIPTOR_SIZE).astype(np.float32) / 4
        if not config.guided:
            return [NeuralPortrait(identity_code=code, features=features)] * rows, window
        _, avatar = self._demo
        window = avatar.coefficients.descriptor + window / 8  # the mesh wants motions of a face
        outside = outside_face(avatar.crop.landmarks_px, avatar.size, config.image_size)
        return [NeuralPortrait(code, features, avatar.prepared, outside)] * rows, window

    @cached_property
    def _demo(self) -> tuple[GeometricAnimator, Avatar]:
        """The mesh of the demo portrait, for guided presets."""
        engine = load_engine(device="cpu", backend="geometric")
        assert isinstance(engine.animator, GeometricAnimator)
        return engine.animator, engine.enroll(PORTRAIT)

    def _mesh(self, config: FaceAnimatorConfig) -> GeometricAnimator | None:
        return self._demo[0] if config.guided else None

    def _expected(self, config: FaceAnimatorConfig, rows: int, *, finished: bool = False) -> np.ndarray:
        animator = NeuralAnimator(random_network(config), device=self.device, mesh=self._mesh(config))
        images = animator.render_batch(*self._inputs(animator.network, rows))
        if not finished:
            return np.stack(images)
        finish = Postprocess(config.image_size, config.image_size, WatermarkConfig())
        return np.stack([finish.apply(rgb) for rgb in images])

    def _used_mib(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return used_mib(self.device.type)

    def _percentiles(self, call: Callable[[], object], share: float = 1.0) -> dict[str, float]:
        """Of repeated calls within a share of the time that a row may take."""
        return percentiles(timed_ms(call, self.device, calls=self.calls, budget_s=share * self.budget_s))

    def _attempt(self, rows: list[Report], what: str, call: Callable[[], Report]) -> None:
        """Append the row, or note why there is none."""
        if time.perf_counter() - self.started > self.minutes * 60:
            self.skipped.append({"what": what, "reason": f"{self.minutes:g} minutes were spent"})
            return
        try:
            rows.append(call())
        except (BackendUnavailable, MissingDependency, torch.cuda.OutOfMemoryError) as error:
            self.skipped.append({"what": what, "reason": str(error)})
        except Exception:
            self._note_failure(what)

    def _note_failure(self, what: str) -> None:
        """Of the exception at hand: the others go on."""
        self.failed.append({"what": what, "traceback": traceback.format_exc()})
        print(f"{what} failed:\n{self.failed[-1]['traceback']}", file=sys.stderr)


def gpu_versions() -> dict[str, str]:
    """Of what runs networks, where it is installed."""
    found = {"cuda": torch.version.cuda or "", "cudnn": str(torch.backends.cudnn.version() or "")}  # type: ignore[no-untyped-call]
    for name in ("onnxruntime", "openvino", "tensorrt-rtx-cu13", "tensorrt", "torch-tensorrt", "triton"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return {name: text for name, text in found.items() if text}


def _measure(args: argparse.Namespace) -> Iterator[Report]:
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="gohd-engines-") as folder:
        suite = Suite(torch.device(args.device), args.quick, args.minutes, EngineCache(Path(folder)))
        yield from suite.run(tuple(args.without.split(",")))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a small network and few calls")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing further is begun")
    parser.add_argument("--without", default="", help="sections to leave out, as children,live")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")


if __name__ == "__main__":
    report = run_benchmark(__doc__, _measure, _options, markdown=markdown, devices=("cuda", "cpu"), theme="gpu")
    sys.exit(bool(report["failed"]))
