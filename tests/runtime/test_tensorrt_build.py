"""Engines for cards that are not here, of both presets, and the same network's numbers by ONNX Runtime.

TensorRT-RTX builds without a GPU; what runs the engines needs one.
"""

from __future__ import annotations

import importlib
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.step import eager_step
from engine.errors import BackendUnavailable, CommandInvalid, MissingDependency
from engine.runtime import EngineCache, FrameCompiler
from engine.runtime.tensorrt_build import build_from_onnx
from engine.runtime.tensorrt_package import choose_package, present_target, rtx_targets
from engine.runtime.tensorrt_step import TensorRTEngine
from tests.animator.neural_cases import SMALL, inputs
from tests.drawn_weights import draw_weights

PRESETS = {"lite": FaceAnimatorConfig.lite(), "paper": FaceAnimatorConfig.paper()}
ENGINE_MIB = {"lite": (4, 30), "paper": (50, 120)}
LEVELS = {"fp32": (1, 0.01), "fp16": (4, 0.1)}
"""Largest and mean error against eager float32, of 255 levels. ONNX Runtime's CPU form of fp16 rounds weights and what
goes from one operation to the next, and sums in float32."""
ENGINE_LEVELS = (16, 0.5)
"""The same for an engine on a card, whose kernels may sum in half precision."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


def _compiler(config: FaceAnimatorConfig, cache: EngineCache, precision: str) -> FrameCompiler:
    network = FaceAnimatorNetwork(config)
    draw_weights(network)
    return FrameCompiler(network, "drawn 0", precision=precision, cache=cache)


def _frame(config: FaceAnimatorConfig) -> tuple[tuple[Tensor, ...], Tensor]:
    """Inputs of one frame in float32, and eager's picture of them."""
    network = FaceAnimatorNetwork(config)
    draw_weights(network)
    network.freeze()
    rgb, window = inputs(config, rows=1)
    with torch.inference_mode():
        code, features = network.encode(rgb)
        picture = eager_step(network)(code, window / 4, torch.ones(1), features)
    return (code, window / 4, torch.ones(1), *features), picture


def _check_numbers(config: FaceAnimatorConfig, onnx: bytes, precision: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    given, expected = _frame(config)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    dtype = np.float16 if precision == "fp16" else np.float32
    named = {
        tensor.name: value.numpy().astype(dtype)
        for tensor, value in zip(session.get_inputs(), given, strict=True)
    }
    (rgb,) = session.run(None, named)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (1, config.picture_size, config.picture_size, 3)
    error = np.abs(rgb.astype(int) - expected.numpy().astype(int))
    print(f"{config.picture_size} px {precision}: largest {error.max()}, mean {error.mean():.4f} of 255")
    assert expected.float().std() > 5
    largest, mean = LEVELS[precision]
    assert error.max() <= largest
    assert error.mean() <= mean


@pytest.mark.usefixtures("all_cores")
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lite", "paper"])
def test_the_engine_for_a_3090_is_built_and_its_network_computes_what_eager_computes(
    preset: str, cache: EngineCache
) -> None:
    pytest.importorskip("tensorrt_rtx")
    compiler = _compiler(PRESETS[preset], cache, "fp16")
    onnx = compiler.onnx(dynamic_rows=False).payload
    started = time.perf_counter()
    package, frame = compiler.tensorrt("sm86")
    size_mib = len(frame.payload) / 2**20
    print(f"{preset}: {size_mib:.1f} MiB in {time.perf_counter() - started:.1f} s by {package}")
    smallest, largest = ENGINE_MIB[preset]
    assert smallest < size_mib < largest
    assert not frame.was_cached
    assert compiler.tensorrt("sm86")[1].was_cached
    _check_numbers(PRESETS[preset], onnx, "fp16")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_network_of_either_precision_computes_what_eager_computes(
    precision: str, cache: EngineCache
) -> None:
    compiler = _compiler(SMALL, cache, precision)
    _check_numbers(SMALL, compiler.onnx(dynamic_rows=False).payload, precision)


@pytest.mark.slow
def test_the_lite_network_in_float32_computes_what_eager_computes(cache: EngineCache) -> None:
    compiler = _compiler(PRESETS["lite"], cache, "fp32")
    _check_numbers(PRESETS["lite"], compiler.onnx(dynamic_rows=False).payload, "fp32")


def test_the_network_is_strongly_typed_and_made_of_standard_operations(cache: EngineCache) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(_compiler(SMALL, cache, "fp16").onnx(dynamic_rows=False).payload)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    operations = {node.op_type for node in model.graph.node}
    assert {"GridSample", "ConvTranspose", "Conv"} <= operations
    half, whole = onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8
    assert {tensor.type.tensor_type.elem_type for tensor in model.graph.input} == {half}
    assert [tensor.type.tensor_type.elem_type for tensor in model.graph.output] == [whole]
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > 64]
    assert large
    assert {tensor.data_type for tensor in large} <= {half, onnx.TensorProto.FLOAT}


def test_every_target_has_an_engine_of_its_own(cache: EngineCache) -> None:
    pytest.importorskip("tensorrt_rtx")
    compiler = _compiler(SMALL, cache, "fp16")
    plans = {target: compiler.tensorrt(target)[1].payload for target in ("sm80", "sm86", "sm89", "sm120")}
    assert len({bytes(plan) for plan in plans.values()}) == 4
    assert compiler.with_rows(2).tensorrt("sm86")[1].key.rows == 2


def test_what_cannot_be_built_here_says_why() -> None:
    with pytest.raises(CommandInvalid, match="sm86"):
        choose_package("auto", "rtx3090")
    with pytest.raises(CommandInvalid, match="tensorrt-rtx"):
        choose_package("openvino", "sm86")
    pytest.importorskip("tensorrt_rtx")
    assert "sm86" in rtx_targets()
    with pytest.raises(BackendUnavailable, match="no engines for sm90"):
        choose_package("tensorrt-rtx", "sm90")


@pytest.mark.parametrize("via", ["tensorrt", "torch-tensorrt", "tensorrt-rtx"])
def test_a_package_that_is_missing_is_named_with_its_install_line(
    via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install"):
        choose_package(via, "sm86")
    with pytest.raises(MissingDependency, match="pip install"):
        choose_package("auto", "sm86")


def test_a_network_that_is_damaged_is_refused_with_the_parsers_reasons() -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BackendUnavailable, match="cannot read the network"):
        build_from_onnx(choose_package("tensorrt-rtx", "sm86"), b"no network", "sm86")


def test_an_engine_without_a_gpu_is_refused() -> None:
    pytest.importorskip("tensorrt_rtx")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(BackendUnavailable, match="CUDA device"):
        TensorRTEngine(choose_package("tensorrt-rtx", "sm86"), b"")


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["lite", "paper"])
def test_the_engine_itself_computes_what_eager_computes(preset: str, cache: EngineCache) -> None:
    if (target := present_target()) is None:
        pytest.skip("needs a CUDA device")
    package, frame = _compiler(PRESETS[preset], cache, "fp16").tensorrt(target)
    given, expected = _frame(PRESETS[preset])
    (rgb,) = TensorRTEngine(package, frame.payload)(*(tensor.cuda().half().contiguous() for tensor in given))
    error = (rgb.cpu().int() - expected.int()).abs()
    print(preset, package, int(error.max()), float(error.float().mean()))
    largest, mean = ENGINE_LEVELS
    assert int(error.max()) <= largest
    assert float(error.float().mean()) <= mean
