"""What runs the exported step on a CPU: OpenVINO and ONNX Runtime against eager, and which of them is taken."""

import dataclasses
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from engine.animator import FaceAnimatorNetwork
from engine.animator.network.step import FrameInputs, FrameStep, eager_step
from engine.errors import BackendUnavailable, MissingDependency
from engine.runtime import export_onnx, step_graph
from engine.runtime.onnx_step import onnx_runner, onnx_step, onnxruntime_step
from engine.runtime.openvino_step import openvino_step
from tests.animator.neural_cases import SMALL, inputs
from tests.random_weights import randomise_weights

CONFIG = dataclasses.replace(SMALL, widths=SMALL.widths[:4], transform_sizes=())
"""32x32 pixels; without a transform at the last size."""
ROWS = 3


@pytest.fixture(scope="module")
def network() -> FaceAnimatorNetwork:
    network = FaceAnimatorNetwork(CONFIG)
    randomise_weights(network)
    return network.freeze()


@pytest.fixture(scope="module")
def exported(network: FaceAnimatorNetwork, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "frame.onnx"
    export_onnx(step_graph(network), path, dynamic_batch=True)
    return path.read_bytes()


def _images(network: FaceAnimatorNetwork, step: FrameStep) -> np.ndarray:
    rgb, window = inputs(CONFIG, rows=ROWS)
    with torch.inference_mode():
        code, features = network.encode(rgb)
        return step(FrameInputs(code, window / 4, torch.linspace(1, 0.5, ROWS), features)).numpy()


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_each_runner_makes_eagers_images_and_the_same_ones_again(
    name: str, network: FaceAnimatorNetwork, exported: bytes
) -> None:
    pytest.importorskip(name)
    step = {"openvino": openvino_step, "onnxruntime": onnxruntime_step}[name](exported)
    expected = _images(network, eager_step(network))
    found = _images(network, step)
    error = np.abs(found.astype(int) - expected.astype(int))
    print(name, error.max(), error.mean())
    assert found.shape == (ROWS, 32, 32, 3)
    assert expected.std() > 5
    assert error.max() <= 1
    kept = found.copy()
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: _images(network, step), range(8)))
    for images in again:
        np.testing.assert_array_equal(images, kept)
    np.testing.assert_array_equal(found, kept)  # an image is the caller's own


def _hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else find(name))


def test_openvino_is_taken_first_and_onnx_runtime_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openvino", "onnxruntime"):
        pytest.importorskip(name)
    assert onnx_runner() == "openvino"
    _hide(monkeypatch, "openvino")
    assert onnx_runner() == "onnxruntime"
    _hide(monkeypatch, "openvino", "onnxruntime")
    with pytest.raises(MissingDependency, match=r"openvino or onnxruntime.*pip install 'gohd-live\[onnx\]'"):
        onnx_runner()


@pytest.mark.parametrize("step", [openvino_step, onnxruntime_step, onnx_step])
def test_a_broken_network_is_refused_by_name(step: object) -> None:
    for name in ("openvino", "onnxruntime"):
        pytest.importorskip(name)
    with pytest.raises(BackendUnavailable, match="cannot run the animator"):
        step(b"not a network")  # type: ignore[operator]
