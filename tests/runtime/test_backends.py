"""Every backend that runs here against eager, and what those that do not say."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import load_engine
from engine.animator import FaceAnimatorNetwork, NeuralAnimator
from engine.errors import BackendUnavailable
from engine.motion.coefficients import Coefficients
from engine.portrait import FaceCrop
from engine.runtime import EngineCache, neural_animator
from tests.animator.neural_cases import SMALL
from tests.drawn_weights import draw_weights

CONFIG = dataclasses.replace(SMALL, widths=SMALL.widths[:4], transform_sizes=(32,))
"""32x32 pixels, which torch.compile is done with in time."""
LEVELS = 1
"""A picture may differ from eager's by one of 255 levels: sums in another order land on the other side of a half."""


NOBODY = Coefficients(*(np.zeros(shape, np.float32) for shape in ((80,), (64,), (6,), (2,), (478, 3))))


def _network() -> FaceAnimatorNetwork:
    network = FaceAnimatorNetwork(CONFIG)
    draw_weights(network)
    return network


def _animator(backend: str, folder: Path, device: str = "cpu") -> NeuralAnimator:
    return neural_animator(_network(), "drawn 0", backend=backend, device=device, cache=EngineCache(folder))


def _pictures(animator: NeuralAnimator) -> list[np.ndarray]:
    size = CONFIG.picture_size
    drawn = np.random.RandomState(3)
    rows = np.linspace(0, 255, size)[:, None, None]
    portraits = []
    for _ in range(2):
        rgb = np.broadcast_to(rows + drawn.rand(3) * 40, (size, size, 3)).clip(0, 255).astype(np.uint8)
        crop = FaceCrop(rgb=rgb, landmarks_px=np.zeros((478, 3), np.float32), matrix=np.eye(3))
        portraits.append(animator.prepare(crop, NOBODY))
    windows = drawn.randn(4, CONFIG.window_frames, 72).astype(np.float32) / 4
    singles = [
        animator.render(portraits[index % 2], window, intensity=index / 3)
        for index, window in enumerate(windows)
    ]
    if animator.backend == "compiled":
        return singles  # another number of rows is compiled anew, which takes as long again
    return [*singles, *animator.render_batch(portraits, windows[:2])]


def _differences(backend: str, folder: Path, device: str = "cpu") -> tuple[int, float]:
    expected = _pictures(NeuralAnimator(_network(), device=device))
    found = _pictures(_animator(backend, folder, device))
    errors = [
        np.abs(ours.astype(int) - theirs.astype(int)) for ours, theirs in zip(found, expected, strict=False)
    ]
    assert max(picture.std() for picture in expected) > 5
    return max(int(error.max()) for error in errors), float(np.mean(errors))


def test_onnx_makes_the_pictures_that_eager_makes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    largest, mean = _differences("onnx", tmp_path)
    print("onnx", largest, mean)
    assert largest <= LEVELS
    (entry,) = EngineCache(tmp_path).entries()
    assert entry.key is not None
    assert (entry.key.package, entry.key.target, entry.key.rows) == ("onnx", "any", 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself
def test_compiled_makes_the_pictures_that_eager_makes(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    largest, mean = _differences("compiled", tmp_path)
    print("compiled", largest, mean)
    assert largest <= LEVELS


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["compiled", "graph", "tensorrt"])
def test_backends_of_a_gpu_make_the_pictures_that_eager_makes(backend: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    largest, mean = _differences(backend, tmp_path, "cuda")
    print(backend, largest, mean)
    assert largest <= 16  # half precision against float32
    assert mean <= 0.5


def test_auto_takes_a_built_network_and_builds_none(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert _animator("auto", tmp_path).backend == "eager"
    assert EngineCache(tmp_path).entries() == []
    assert _animator("onnx", tmp_path).backend == "onnx"
    assert _animator("auto", tmp_path).backend == "onnx"


@pytest.mark.parametrize("backend", ["graph", "tensorrt"])
def test_a_backend_of_the_gpu_without_one_says_what_to_choose(backend: str, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="onnx, compiled or eager"):
        _animator(backend, tmp_path)


@pytest.mark.parametrize(
    ("backend", "missing", "line"),
    [("onnx", "onnxruntime", r"pip install 'gohd-live\[onnx\]'"), ("compiled", "g++", "apt install g")],
)
def test_a_backend_that_is_not_installed_names_its_install_line(
    backend: str, missing: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendUnavailable, match=line):
        _animator(backend, tmp_path)


def test_a_geometric_animator_has_no_network_to_run() -> None:
    with pytest.raises(BackendUnavailable, match="geometric"):
        load_engine(backend="onnx")
