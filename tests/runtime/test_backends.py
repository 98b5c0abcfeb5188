"""Every backend against eager, in one table, and what those that are not here say."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import load_engine
from engine.animator import GeometricAnimator, NeuralAnimator, NeuralPortrait
from engine.animator.network.step import FrameStep
from engine.errors import BackendUnavailable
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.postprocess.graph import watermark_pattern
from engine.runtime import EngineCache, captured_step, neural_animator
from tests.geometric_weights import geometric_weights
from tests.runtime.frame_cases import LAYOUTS, MARKING, compiler, drawn, engine_twin, frames

LARGEST, MEAN = 0, 1
TOLERANCE: dict[str, tuple[int, float]] = {
    "eager": (0, 0.0),
    "compiled": (1, 0.01),
    "graph": (1, 0.01),
    "onnx": (1, 0.01),
    "tensorrt": (3, 0.1),
}
"""Largest and mean difference to eager's bare image in float32, of 255 levels: sums in another order land on the
other side of a half. "tensorrt" is in half precision; here ONNX Runtime runs its network, on a card the engine does."""
FINISHED: dict[str, tuple[int, float]] = {"graph": (2, 0.02), "tensorrt": (4, 0.15)}
"""The same for finished images: the mark is fitted to the image, and so answers to what differs in it."""
ON_A_CARD = (16, 0.5)
"""Half precision against float32, kernels that may sum in half precision."""


def _step(backend: str, layout: str, cache: EngineCache) -> tuple[FrameStep, torch.dtype, bool]:
    """A backend's step on this CPU, its type, and whether it finishes."""
    config = LAYOUTS[layout]
    if backend == "graph":
        return captured_step(drawn(config).freeze(), watermark_pattern(MARKING)), torch.float32, True
    if backend == "tensorrt":
        pytest.importorskip("onnxruntime")
        return engine_twin(compiler(config, cache).exported().payload), torch.float16, True
    mesh = GeometricAnimator(LandmarkModel.load(BUNDLED_MOTION_SPACE)) if config.guided else None
    animator = neural_animator(drawn(config), "drawn 0", backend=backend, cache=cache, mesh=mesh)
    assert animator.backend == backend
    assert not animator.finishes
    return animator.step, torch.float32, False


def _compare(found: np.ndarray, expected: np.ndarray, tolerance: tuple[int, float], what: str) -> None:
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    error = np.abs(found.astype(int) - expected.astype(int))
    print(f"{what}: largest {error.max()}, mean {error.mean():.4f} of 255 levels")
    assert error.max() <= tolerance[LARGEST]
    assert error.mean() <= tolerance[MEAN]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself, when it compiles
@pytest.mark.parametrize(
    ("backend", "layout", "rows"),
    [
        ("eager", "head", 2),
        ("graph", "head", 2),
        ("onnx", "head", 2),
        ("tensorrt", "head", 1),
        ("graph", "guided", 2),
        ("onnx", "guided_lite", 2),
        ("tensorrt", "guided_lite", 1),
        pytest.param("tensorrt", "paper", 1, marks=pytest.mark.slow),
        # Another number of rows is compiled anew, and 32x32 pixels are done with in time.
        pytest.param("compiled", "tiny", 1, marks=pytest.mark.slow),
    ],
)
def test_a_backend_makes_the_images_that_eager_makes(
    backend: str, layout: str, rows: int, engine_cache: EngineCache
) -> None:
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    if backend == "compiled" and shutil.which("g++") is None:
        pytest.skip("needs g++")
    step, dtype, finishes = _step(backend, layout, engine_cache)
    case = frames(layout, rows)
    what = f"{backend}, {layout}"
    bare = case.run(step, dtype, False if finishes else None, rows)
    _compare(bare, case.bare if finishes else case.stepped, TOLERANCE[backend], f"{what}, bare")
    if finishes:
        assert case.finished is not None
        _compare(case.run(step, dtype, True, rows), case.finished, FINISHED[backend], f"{what}, finished")


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["head", "paper"])
@pytest.mark.parametrize("backend", ["compiled", "graph", "tensorrt"])
def test_backends_of_a_gpu_make_the_images_that_eager_makes(
    backend: str, layout: str, engine_cache: EngineCache
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    animator = neural_animator(
        drawn(LAYOUTS[layout]),
        "drawn 0",
        backend=backend,
        device="cuda",
        cache=engine_cache,
        watermark=MARKING,
    )
    assert animator.finishes
    case = frames(layout)
    given = case.given
    features = tuple(maps.cuda().half() for maps in given.features)
    portrait = NeuralPortrait(given.identity_code_BS.cuda().half(), features)
    for finished, expected in ((False, case.bare), (True, case.finished)):
        found = animator.render_batch(
            [portrait], given.window_BTD.numpy(), intensity=given.intensity_B.tolist(), finished=[finished]
        )
        assert expected is not None
        _compare(found, expected, ON_A_CARD, f"{backend}, {layout}, finished {finished}")


def _animator(backend: str, cache: EngineCache, build: bool = False) -> NeuralAnimator:
    return neural_animator(drawn(LAYOUTS["tiny"]), "drawn 0", backend=backend, cache=cache, build=build)


def test_auto_takes_a_built_network_and_builds_one_only_when_told(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    cache = EngineCache(tmp_path)
    assert _animator("auto", cache).backend == "eager"
    assert cache.entries() == []
    assert _animator("auto", cache, build=True).backend == "onnx"
    assert _animator("auto", cache).backend == "onnx"
    (entry,) = cache.entries()
    assert entry.key is not None
    assert (entry.key.package, entry.key.target, entry.key.rows) == ("onnx", "any", 0)


def test_images_are_finished_only_where_the_step_can(tmp_path: Path) -> None:
    animator = _animator("eager", EngineCache(tmp_path))
    given = frames("tiny").given
    portrait = NeuralPortrait(given.identity_code_BS, given.features)
    with pytest.raises(ValueError, match="cannot finish"):
        animator.render(portrait, given.window_BTD[0].numpy(), finished=True)


@pytest.mark.parametrize("backend", ["graph", "tensorrt"])
def test_a_backend_of_the_gpu_without_one_says_what_to_choose(backend: str, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="onnx, compiled or eager"):
        _animator(backend, EngineCache(tmp_path))


@pytest.mark.parametrize(
    ("backend", "missing", "line"),
    [("onnx", "onnxscript", r"pip install 'gohd-live\[onnx\]'"), ("compiled", "g++", "apt install g")],
)
def test_a_backend_that_is_not_installed_names_its_install_line(
    backend: str, missing: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendUnavailable, match=line):
        _animator(backend, EngineCache(tmp_path))


def test_a_geometric_animator_has_no_network_to_run(tmp_path: Path) -> None:
    folder = geometric_weights(tmp_path / "weights")
    with pytest.raises(BackendUnavailable, match="geometric"):
        load_engine(folder, backend="onnx")
    for backend in ("auto", "geometric"):
        assert isinstance(load_engine(folder, backend=backend).animator, GeometricAnimator)


@pytest.mark.parametrize(
    ("cores", "backend", "kind"),
    [
        (2, "auto", GeometricAnimator),
        (4, "auto", NeuralAnimator),
        (2, "eager", NeuralAnimator),
        (None, "auto", NeuralAnimator),
    ],
)
def test_a_live_session_on_few_cores_does_without_the_network(cores: int | None, backend: str, kind: type) -> None:
    assert isinstance(load_engine(device="cpu", backend=backend, live_cores=cores).animator, kind)


def test_the_network_can_be_left_out() -> None:
    """Then the image is that of the mesh, whatever animator the weights have."""
    engine = load_engine(backend="geometric")
    assert isinstance(engine.animator, GeometricAnimator)
    with pytest.raises(BackendUnavailable, match="load_engine"):
        _animator("geometric", EngineCache())
