"""Reading TensorFlow Lite files: operators by hand, damaged files."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import CheckpointRefused
from engine.portrait.face_networks import ASSETS
from train.pretrained.tflite.graph import Graph, Operator, read_graph
from train.pretrained.tflite.network import TfliteNetwork

_SAME, _VALID = 0, 1


_DATA = (ASSETS / "face_detector.tflite").read_bytes()


def _one(operator: Operator, shapes: list[tuple[int, ...]], **constants: np.ndarray) -> TfliteNetwork:
    """A graph of one operator: tensor 0 is the input, the last one the output."""
    numbered = {int(name[1:]): value for name, value in constants.items()}
    return TfliteNetwork(Graph(numbered, tuple(shapes), (operator,), (0,), operator.outputs))


@pytest.mark.parametrize(("size", "stride", "padding"), [(7, 2, _SAME), (8, 2, _SAME), (8, 1, _SAME), (9, 2, _VALID)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_pad_as_tensorflow_does(size: int, stride: int, padding: int, depthwise: bool) -> None:
    """Against loops over the definition: SAME has ceil(size / stride) steps, the odd zero is at the end."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, size, size, 3)).astype(np.float32)
    kernel = rng.normal(size=(1, 3, 3, 3) if depthwise else (4, 3, 3, 3)).astype(np.float32)
    bias = rng.normal(size=3 if depthwise else 4).astype(np.float32)
    steps = -(-size // stride) if padding == _SAME else (size - 3) // stride + 1
    total = max((steps - 1) * stride + 3 - size, 0) if padding == _SAME else 0
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2), (0, 0)))
    expected = np.zeros((2, steps, steps, len(bias)))
    for i in range(steps):
        for j in range(steps):
            patch = padded[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            form = "bhwc,hwc->bc" if depthwise else "bhwc,ohwc->bo"
            expected[:, i, j] = np.einsum(form, patch, kernel[0] if depthwise else kernel) + bias
    options = {
        "padding": padding, "stride_x": stride, "stride_y": stride, "activation": 1, "dilation_x": 1, "dilation_y": 1,
    }  # fmt: skip
    operator = Operator("depthwise_conv_2d" if depthwise else "conv_2d", (0, 1, 2), (3,), options)
    network = _one(operator, [(1, size, size, 3)] * 4, _1=kernel, _2=bias)
    np.testing.assert_allclose(network(torch.from_numpy(x))[3].numpy(), np.maximum(expected, 0), atol=1e-5)


def test_max_pooling_ignores_its_padding() -> None:
    x = -np.arange(1, 26, dtype=np.float32).reshape(1, 5, 5, 1)
    options = {"padding": _SAME, "stride_x": 2, "stride_y": 2, "size_x": 2, "size_y": 2, "activation": 0}
    found = _one(Operator("max_pool_2d", (0,), (1,), options), [(1, 5, 5, 1)] * 2)(torch.from_numpy(x))[1]
    np.testing.assert_array_equal(found[0, :, :, 0], [[-1, -3, -5], [-11, -13, -15], [-21, -23, -25]])


def test_channels_are_padded_and_sloped() -> None:
    x = torch.tensor([[[[-2.0, 3.0]]]])
    padded = _one(
        Operator("pad", (0, 1), (2,)),
        [(1, 1, 1, 2)] * 3,
        _1=np.array([[0, 0], [0, 0], [0, 1], [0, 2]], np.int32),
    )(x)[2]
    assert padded.tolist() == [[[[-2, 3, 0, 0], [0, 0, 0, 0]]]]
    sloped = _one(Operator("prelu", (0, 1), (2,)), [(1, 1, 1, 2)] * 3, _1=np.array([[[0.5, 0.1]]], np.float32))(x)[2]
    assert sloped.tolist() == [[[[-1.0, 3.0]]]]


def test_files_of_other_kinds_are_refused() -> None:
    with pytest.raises(CheckpointRefused, match="not a TensorFlow Lite file"):
        read_graph(b"PK\x03\x04 a zip", "model")


@settings(max_examples=20, deadline=None)
@given(kept=st.integers(8, len(_DATA) - 1))
def test_cut_files_give_a_graph_or_are_refused(kept: int) -> None:
    with contextlib.suppress(CheckpointRefused):
        read_graph(_DATA[:kept], "model")


@settings(max_examples=40, deadline=None)
@given(place=st.integers(8, 4000), value=st.integers(0, 255))
def test_changed_files_give_a_graph_or_are_refused(place: int, value: int) -> None:
    changed = bytearray(_DATA)
    changed[place] = value
    changed[-place] = value
    with contextlib.suppress(CheckpointRefused):
        read_graph(bytes(changed), "model")
