"""The animator exported and run by ONNX Runtime, against eager."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engine.animator import FaceAnimatorNetwork
from engine.errors import MissingDependency
from engine.runtime import Graph, animator_graph, export_onnx
from tests.animator.neural_cases import SMALL
from tests.random_weights import randomise_weights

TOLERANCE = 1e-4
"""Of the largest output; float32 sums in another order, in networks of random weights."""


def _graph() -> Graph:
    network = FaceAnimatorNetwork(SMALL)
    randomise_weights(network)
    return animator_graph(network)


def _inputs(graph: Graph, rows: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rows)
    inputs = {
        name: 0.5 * torch.randn(rows, *tensor.shape[1:], generator=generator) for name, tensor in graph.inputs.items()
    }
    for name in inputs:
        if name.startswith("feature_"):  # smooth, as a portrait's are
            size = inputs[name].shape[-1]
            inputs[name] = F.interpolate(inputs[name][:, :, :4, :4], size=size, mode="bicubic")
    inputs["intensity"] = (torch.arange(rows) % 3).float() / 2
    return tuple(tensor.to(graph.inputs[name].dtype) for name, tensor in inputs.items())


def test_exported_graph_computes_what_eager_computes_for_any_batch(tmp_path: Path) -> None:
    _check(_graph(), tmp_path, dynamic_batch=True)


def test_exported_graph_of_one_row_has_fixed_shapes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    _check(_graph(), tmp_path, dynamic_batch=False)
    shapes = [tensor.type.tensor_type.shape for tensor in onnx.load(tmp_path / "graph.onnx").graph.input]
    assert all(size.dim_value > 0 for shape in shapes for size in shape.dim)


def test_half_precision_is_exported_as_such(tmp_path: Path) -> None:
    network = FaceAnimatorNetwork(dataclasses.replace(SMALL, widths=SMALL.widths[:3], transform_sizes=()))
    randomise_weights(network)
    graph = animator_graph(network.freeze().half())
    assert {tensor.dtype for tensor in graph.inputs.values()} == {torch.float16}
    _check(graph, tmp_path, dynamic_batch=False, tolerance=5e-3)


def _check(graph: Graph, folder: Path, dynamic_batch: bool, tolerance: float = TOLERANCE) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export_onnx(graph, folder / "graph.onnx", dynamic_batch=dynamic_batch)
    assert [path.name for path in folder.iterdir()] == ["graph.onnx"]
    session = onnxruntime.InferenceSession(folder / "graph.onnx", providers=["CPUExecutionProvider"])
    assert [tensor.name for tensor in session.get_outputs()] == list(graph.outputs)
    for rows in (1, 3) if dynamic_batch else (1,):
        inputs = _inputs(graph, rows)
        with torch.inference_mode():
            expected = graph.module(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        named = dict(zip(graph.inputs, (tensor.numpy() for tensor in inputs), strict=True))
        for ours, theirs in zip(expected, session.run(None, named), strict=True):
            error = float(np.abs(theirs - ours.numpy()).max()) / float(ours.abs().max())
            print(graph.name, rows, error)
            assert error <= tolerance


def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(MissingDependency, match=r"onnxscript.*pip install 'gohd-live\[onnx\]'"):
        export_onnx(_graph(), tmp_path / "animator.onnx")
