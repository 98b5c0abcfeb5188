"""The contents of a TensorFlow Lite file: constants, and operators in the order in which they run.

Field numbers are those of the published schema (tensorflow/lite/schema/schema.fbs).
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import CheckpointRefused
from train.pretrained.tflite.flatbuffer import Table, root_table

Array = NDArray[np.float32] | NDArray[np.int32]

_TYPES: Final = {0: np.float32, 1: np.float16, 2: np.int32}
_NAMES: Final = {
    0: "add", 2: "concatenation", 3: "conv_2d", 4: "depthwise_conv_2d", 6: "dequantize", 14: "logistic",
    17: "max_pool_2d", 18: "mul", 19: "relu", 22: "reshape", 34: "pad", 39: "transpose", 40: "mean", 41: "sub",
    42: "div", 45: "strided_slice", 54: "prelu", 59: "neg", 74: "sum", 75: "sqrt", 76: "rsqrt",
    99: "squared_difference",
}  # fmt: skip
_OPTIONS: Final[Mapping[str, Mapping[str, tuple[int, str, int]]]] = {
    "conv_2d": {
        "padding": (0, "<b", 0), "stride_x": (1, "<i", 0), "stride_y": (2, "<i", 0), "activation": (3, "<b", 0),
        "dilation_x": (4, "<i", 1), "dilation_y": (5, "<i", 1),
    },
    "depthwise_conv_2d": {
        "padding": (0, "<b", 0), "stride_x": (1, "<i", 0), "stride_y": (2, "<i", 0), "activation": (4, "<b", 0),
        "dilation_x": (5, "<i", 1), "dilation_y": (6, "<i", 1),
    },
    "max_pool_2d": {
        "padding": (0, "<b", 0), "stride_x": (1, "<i", 0), "stride_y": (2, "<i", 0), "size_x": (3, "<i", 0),
        "size_y": (4, "<i", 0), "activation": (5, "<b", 0),
    },
    "add": {"activation": (0, "<b", 0)},
    "mul": {"activation": (0, "<b", 0)},
    "sub": {"activation": (0, "<b", 0)},
    "div": {"activation": (0, "<b", 0)},
    "concatenation": {"axis": (0, "<i", 0), "activation": (1, "<b", 0)},
    "mean": {"keep": (0, "<b", 0)},
    "sum": {"keep": (0, "<b", 0)},
    "strided_slice": {"begin_mask": (0, "<i", 0), "end_mask": (1, "<i", 0), "shrink_mask": (4, "<i", 0)},
}  # fmt: skip
"""Options by name: field number, form, default."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One step: ``outputs = name(inputs)``, tensors by number (-1: none)."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network.

    Attributes:
        constants: tensors that are given, float16 widened to float32, by number.
        shapes: of all tensors, the batch as in the file.
        operators: in order; widening of constants is done and left out.
    """

    constants: Mapping[int, Array]
    shapes: tuple[tuple[int, ...], ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(data: bytes, what: str) -> Graph:
    """The first graph of a TensorFlow Lite file.

    Args:
        what: names the file in messages.

    Raises:
        CheckpointRefused: damaged, or with an operator or a number type that is not known here.
    """
    if data[4:8] != b"TFL3":
        raise CheckpointRefused(f"{what} is not a TensorFlow Lite file")
    try:
        return _graph(root_table(data), what)
    except (struct.error, StopIteration, IndexError, ValueError) as error:
        raise CheckpointRefused(f"{what} is damaged: {error}") from error


def _graph(model: Table, what: str) -> Graph:
    codes = [max(code.integer(0, "<b"), code.integer(3)) for code in model.tables(1)]
    buffers = list(model.tables(4))
    graph = next(model.tables(2))
    tensors = list(graph.tables(0))
    constants: dict[int, Array] = {}
    for number, tensor in enumerate(tensors):
        data = buffers[tensor.integer(2, "<I")].bytes(0)
        if data.size:
            constants[number] = _constant(data, tensor, what)
    operators = []
    for step in graph.tables(3):
        code = codes[step.integer(0, "<I")]
        if code not in _NAMES:
            raise CheckpointRefused(f"{what} needs operator {code} of TensorFlow Lite, which is not known here")
        operator = Operator(_NAMES[code], step.integers(1), step.integers(2), _options(_NAMES[code], step))
        if operator.name == "dequantize" and operator.inputs[0] in constants:
            constants[operator.outputs[0]] = constants.pop(operator.inputs[0])
        else:
            operators.append(operator)
    shapes = tuple(tensor.integers(0) for tensor in tensors)
    return Graph(constants, shapes, tuple(operators), graph.integers(1), graph.integers(2))


def _constant(data: NDArray[np.uint8], tensor: Table, what: str) -> Array:
    kind = tensor.integer(1, "<b")
    if kind not in _TYPES:
        raise CheckpointRefused(f"{what} holds numbers of type {kind} of TensorFlow Lite, which is not known here")
    values = data.view(_TYPES[kind]).reshape(tensor.integers(0))
    return values.astype(np.int32) if kind == 2 else values.astype(np.float32)


def _options(name: str, step: Table) -> dict[str, int]:
    table = step.table(4)
    read: Callable[[int, str, int], int] = (lambda _i, _f, default: default) if table is None else table.integer
    return {option: read(*form) for option, form in _OPTIONS.get(name, {}).items()}
