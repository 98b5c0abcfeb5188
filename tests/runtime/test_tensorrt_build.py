"""Engines for cards that are not here, of both presets, and the same network's numbers by ONNX Runtime.

TensorRT-RTX builds without a GPU; what runs the engines needs one.
"""

import dataclasses
import importlib
import sys
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import BackendUnavailable, CommandInvalid, MissingDependency
from engine.runtime import EngineCache, finished_graph, tensorrt_build, tensorrt_package
from engine.runtime.tensorrt_build import build_from_onnx, build_from_torch
from engine.runtime.tensorrt_package import choose_package, rtx_targets
from engine.runtime.tensorrt_step import TensorRTEngine
from tests.runtime.frame_cases import HEAD, LAYOUTS, compiler, drawn, engine_twin, frames

ENGINE_MIB = {"guided_lite": (2, 60), "paper": (50, 120)}
TARGETS = ("sm80", "sm86", "sm89", "sm120")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["guided_lite", "paper"])
def test_the_engine_for_a_3090_is_built_ahead_of_time(preset: str, engine_cache: EngineCache) -> None:
    """Its numbers are checked in test_backends.py, of the same network."""
    pytest.importorskip("tensorrt_rtx")
    frame_compiler = compiler(LAYOUTS[preset], engine_cache)
    frame_compiler.exported()
    started = time.perf_counter()
    package, frame = frame_compiler.tensorrt("sm86")
    size_mib = len(frame.payload) / 2**20
    print(f"{preset}: {size_mib:.1f} MiB in {time.perf_counter() - started:.1f} s by {package}")
    smallest, largest = ENGINE_MIB[preset]
    assert smallest < size_mib < largest
    assert not frame.was_cached
    assert frame_compiler.tensorrt("sm86")[1].was_cached


def test_an_export_in_float32_computes_what_eager_computes(engine_cache: EngineCache) -> None:
    """Two rows at once, of which one is to be finished."""
    pytest.importorskip("onnxruntime")
    step = engine_twin(compiler(HEAD, engine_cache, precision="fp32", rows=2).exported().payload)
    case = frames("head", rows=2)
    assert case.finished is not None
    expected = np.stack([case.finished[0], case.bare[1]])
    with torch.inference_mode():
        found = step(dataclasses.replace(case.given, finished_B=torch.tensor([1.0, 0.0]))).numpy()
    error = np.abs(found.astype(int) - expected.astype(int))
    print(f"largest {error.max()}, mean {error.mean():.4f} of 255 levels")
    assert error.max() <= 2
    assert error.mean() <= 0.02


def test_the_network_is_strongly_typed_and_made_of_standard_operations(engine_cache: EngineCache) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(compiler(HEAD, engine_cache).exported().payload)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    operations = {node.op_type for node in model.graph.node}
    assert {"GridSample", "ConvTranspose", "Conv"} <= operations
    half, whole = onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8
    types = {tensor.name: tensor.type.tensor_type.elem_type for tensor in model.graph.input}
    assert types.pop("pattern") == onnx.TensorProto.FLOAT
    assert set(types.values()) == {half}
    assert [tensor.type.tensor_type.elem_type for tensor in model.graph.output] == [whole]
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > 64]
    assert large
    assert {tensor.data_type for tensor in large} <= {half, onnx.TensorProto.FLOAT}


def test_every_target_has_an_engine_of_its_own(engine_cache: EngineCache) -> None:
    pytest.importorskip("tensorrt_rtx")
    frame_compiler = compiler(HEAD, engine_cache)
    plans = {target: frame_compiler.tensorrt(target)[1].payload for target in TARGETS}
    assert len(set(plans.values())) == len(TARGETS)


def test_rows_and_layout_are_parts_of_the_key(engine_cache: EngineCache) -> None:
    pytest.importorskip("tensorrt_rtx")
    built = compiler(HEAD, engine_cache)
    built.tensorrt("sm86")
    assert built.has_tensorrt("sm86")
    assert not built.with_rows(2).has_tensorrt("sm86")
    assert not compiler(HEAD, engine_cache, layout="i420").has_tensorrt("sm86")
    assert not compiler(HEAD, engine_cache, precision="fp32").has_tensorrt("sm86")


def test_what_cannot_be_built_here_says_why() -> None:
    with pytest.raises(CommandInvalid, match="sm86"):
        choose_package("auto", "rtx3090")
    with pytest.raises(CommandInvalid, match="tensorrt-rtx"):
        choose_package("openvino", "sm86")
    pytest.importorskip("tensorrt_rtx")
    assert "sm86" in rtx_targets()
    with pytest.raises(BackendUnavailable, match="no engines for sm90"):
        choose_package("tensorrt-rtx", "sm90")


def _pretended(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for member, value in members.items():
        setattr(module, member, value)
    monkeypatch.setitem(sys.modules, name, module)


def test_torch_tensorrt_is_asked_for_an_engine_of_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """By stand-ins with the signature of torch-tensorrt 2.14, which is on no machine without a card."""

    def convert(
        exported_program: torch.export.ExportedProgram,
        inputs: Any = None,
        *,
        arg_inputs: Any = None,
        require_full_compilation: bool = False,
    ) -> bytes:
        assert inputs is None
        assert require_full_compilation
        assert [tensor.shape[0] for tensor in arg_inputs][:4] == [2, 2, 2, 2]
        (image,) = next(node for node in exported_program.graph.nodes if node.op == "output").args[0]
        assert image.meta["val"].dtype == torch.uint8
        return b"plan"

    _pretended(monkeypatch, "tensorrt", __version__="11.1.0.106")
    _pretended(monkeypatch, "torch_tensorrt")
    _pretended(monkeypatch, "torch_tensorrt.dynamo", convert_exported_program_to_serialized_trt_engine=convert)
    monkeypatch.setattr(tensorrt_package, "present_target", lambda: "sm90")
    package = choose_package("torch-tensorrt", "sm90")
    assert package.version.startswith("11.1.0.106")
    assert not package.builds_without_gpu
    assert choose_package("auto", "sm90").via == "tensorrt"
    with pytest.raises(BackendUnavailable, match="present"):
        choose_package("torch-tensorrt", "sm86")
    assert build_from_torch(finished_graph(drawn(HEAD)), rows=2, device="cpu") == b"plan"


def test_a_network_that_torch_tensorrt_cannot_convert_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(program: Any, **_: Any) -> bytes:
        raise RuntimeError("no converter for grid_sample")

    dynamo = ModuleType("torch_tensorrt.dynamo")
    dynamo.convert_exported_program_to_serialized_trt_engine = convert  # type: ignore[attr-defined]
    monkeypatch.setattr(tensorrt_build.importlib, "import_module", lambda name: dynamo)
    monkeypatch.setattr(torch.export, "export", lambda module, inputs: None)
    with pytest.raises(BackendUnavailable, match="no converter for grid_sample"):
        build_from_torch(finished_graph(drawn(HEAD)), rows=1, device="cpu")


@pytest.mark.parametrize("via", ["tensorrt", "torch-tensorrt", "tensorrt-rtx"])
def test_a_package_that_is_missing_is_named_with_its_install_line(via: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
