"""A TensorFlow Lite graph as a PyTorch module: the same numbers, any batch, gradients to the input.

Tensors keep TensorFlow's order of axes (batch, height, width, channels). Convolutions see them through a permuted
view, which is PyTorch's channels-last layout, so nothing is copied.

The graph is written for a batch of one. Its first axis is the batch here: shapes take the batch of the input,
constants that meet it spread over it, and slices leave it alone.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import CheckpointRefused
from train.pretrained.tflite.graph import Graph, Operator

_SAME = 0
_ACTIVATIONS: Mapping[int, Callable[[Tensor], Tensor]] = {
    0: lambda x: x,
    1: torch.relu,
    3: lambda x: x.clamp(0, 6),
}
_Args = list[Tensor | None]


class TfliteNetwork(nn.Module):
    """The operators of a graph in their order. The weights are buffers: they move with the module, never train."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._forget = _last_uses(graph)
        floats = {number for operator in graph.operators for number in _float_inputs(operator)}
        for number, value in graph.constants.items():
            tensor = torch.from_numpy(value.copy())
            if number in floats:
                self.register_buffer(f"_constant_{number}", _weight(graph, number, tensor), persistent=False)
        for operator in graph.operators:
            if operator.name not in _OPERATORS:
                raise CheckpointRefused(f"operator {operator.name} has no PyTorch form here")

    def forward(self, x_BHWC: Tensor, taps: Sequence[int] = ()) -> dict[int, Tensor]:
        """Outputs by tensor number, in TensorFlow's order of axes, and the tensors asked for by ``taps``."""
        wanted = {*self.graph.outputs, *taps}
        values: dict[int, Tensor] = {self.graph.inputs[0]: x_BHWC}
        kept: dict[int, Tensor] = {}
        for operator, forget in zip(self.graph.operators, self._forget, strict=True):
            args: _Args = [self._value(number, values) for number in operator.inputs]
            result = _OPERATORS[operator.name](self.graph, operator, args)
            values[operator.outputs[0]] = result
            if operator.outputs[0] in wanted:
                kept[operator.outputs[0]] = result
            for number in forget:
                values.pop(number, None)
        return kept

    def last_of_size(self, height: int) -> int:
        """Number of the last tensor that is ``height`` high."""
        made = [operator.outputs[0] for operator in self.graph.operators]
        matching = [n for n in made if len(self.graph.shapes[n]) == 4 and self.graph.shapes[n][1] == height]
        if not matching:
            raise CheckpointRefused(f"the graph has no tensor of height {height}")
        return matching[-1]

    def _value(self, number: int, values: Mapping[int, Tensor]) -> Tensor | None:
        if number in values:
            return values[number]
        # An absent bias is None; so are shapes and axes, which operators read from the graph.
        constant: Tensor | None = getattr(self, f"_constant_{number}", None)
        return constant


def _last_uses(graph: Graph) -> list[list[int]]:
    """Which tensors no later operator reads, after each operator."""
    last: dict[int, int] = {}
    for index, operator in enumerate(graph.operators):
        for number in (*operator.inputs, *operator.outputs):
            last[number] = index
    forget: list[list[int]] = [[] for _ in graph.operators]
    for number, index in last.items():
        forget[index].append(number)
    return forget


_INTEGER_INPUTS = {"reshape": 1, "pad": 1, "transpose": 1, "mean": 1, "sum": 1, "strided_slice": 1}


def _float_inputs(operator: Operator) -> tuple[int, ...]:
    return operator.inputs[: _INTEGER_INPUTS.get(operator.name, len(operator.inputs))]


def _weight(graph: Graph, number: int, tensor: Tensor) -> Tensor:
    """Kernels in PyTorch's order of axes: (out, height, width, in) and (1, height, width, out) to (out, in, h, w)."""
    for operator in graph.operators:
        if len(operator.inputs) > 1 and operator.inputs[1] == number:
            if operator.name == "conv_2d":
                return tensor.permute(0, 3, 1, 2).contiguous()
            if operator.name == "depthwise_conv_2d":
                return tensor.permute(3, 0, 1, 2).contiguous()
    return tensor


def _padding(size: int, kernel: int, stride: int, same: bool) -> tuple[int, int]:
    """TensorFlow's SAME: the output has ceil(size / stride) steps, an odd rest is padded at the end."""
    if not same:
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padded(x_BCHW: Tensor, kernel: Sequence[int], op: Operator, value: float) -> Tensor:
    same = op.options["padding"] == _SAME
    top, bottom = _padding(x_BCHW.shape[2], kernel[0], op.options["stride_y"], same)
    left, right = _padding(x_BCHW.shape[3], kernel[1], op.options["stride_x"], same)
    if not any((top, bottom, left, right)):
        return x_BCHW
    return F.pad(x_BCHW, (left, right, top, bottom), value=value)


def _strides(op: Operator) -> tuple[int, int]:
    return op.options["stride_y"], op.options["stride_x"]


def _conv(graph: Graph, op: Operator, args: _Args) -> Tensor:
    x, weight = _given(args[0]), _given(args[1])
    bias = args[2] if len(args) > 2 else None
    x_BCHW = x.permute(0, 3, 1, 2)
    dilation = op.options["dilation_y"], op.options["dilation_x"]
    reach = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True)]
    groups = weight.shape[0] if op.name == "depthwise_conv_2d" else 1
    if groups > 1 and x_BCHW.shape[1] != groups:
        raise CheckpointRefused("depthwise convolutions that multiply channels are not known here")
    y_BCHW = F.conv2d(_padded(x_BCHW, reach, op, 0.0), weight, bias, _strides(op), dilation=dilation, groups=groups)
    return _activated(y_BCHW.permute(0, 2, 3, 1), op)


def _max_pool(graph: Graph, op: Operator, args: _Args) -> Tensor:
    kernel = op.options["size_y"], op.options["size_x"]
    x_BCHW = _padded(_given(args[0]).permute(0, 3, 1, 2), kernel, op, float("-inf"))
    return _activated(F.max_pool2d(x_BCHW, kernel, _strides(op)).permute(0, 2, 3, 1), op)


def _prelu(graph: Graph, op: Operator, args: _Args) -> Tensor:
    x, slope = _given(args[0]), _given(args[1])
    if slope.numel() != x.shape[-1]:
        return torch.where(x >= 0, x, x * slope)
    return F.prelu(x.permute(0, 3, 1, 2), slope.reshape(-1)).permute(0, 2, 3, 1)


def _pad(graph: Graph, op: Operator, args: _Args) -> Tensor:
    amounts = graph.constants[op.inputs[1]].tolist()
    return F.pad(_given(args[0]), [int(value) for axis in reversed(amounts) for value in axis])


def _reshape(graph: Graph, op: Operator, args: _Args) -> Tensor:
    x = _given(args[0])
    return x.reshape(x.shape[0], *graph.shapes[op.outputs[0]][1:])


def _transpose(graph: Graph, op: Operator, args: _Args) -> Tensor:
    return _given(args[0]).permute(graph.constants[op.inputs[1]].tolist())


def _reduced(function: Callable[..., Tensor]) -> Callable[[Graph, Operator, _Args], Tensor]:
    def run(graph: Graph, op: Operator, args: _Args) -> Tensor:
        axes = graph.constants[op.inputs[1]].reshape(-1).tolist()
        return function(_given(args[0]), dim=axes, keepdim=bool(op.options["keep"]))

    return run


def _concatenation(graph: Graph, op: Operator, args: _Args) -> Tensor:
    parts = [_given(value) for value in args]
    batch = max(part.shape[0] for part in parts)
    parts = [part.expand(batch, *part.shape[1:]) for part in parts]
    return _activated(torch.cat(parts, op.options["axis"]), op)


def _strided_slice(graph: Graph, op: Operator, args: _Args) -> Tensor:
    x = _given(args[0])
    begin, end, steps = (graph.constants[number].tolist() for number in op.inputs[1:4])
    index: list[slice | int] = [slice(None)]
    for axis in range(1, len(begin)):
        if op.options["shrink_mask"] >> axis & 1:
            index.append(int(begin[axis]))
            continue
        low = None if op.options["begin_mask"] >> axis & 1 else int(begin[axis])
        high = None if op.options["end_mask"] >> axis & 1 else int(end[axis])
        index.append(slice(low, high, int(steps[axis])))
    return x[tuple(index)]


def _elementwise(function: Callable[..., Tensor]) -> Callable[[Graph, Operator, _Args], Tensor]:
    def run(graph: Graph, op: Operator, args: _Args) -> Tensor:
        return _activated(function(*(_given(value) for value in args)), op)

    return run


def _given(value: Tensor | None) -> Tensor:
    if value is None:
        raise CheckpointRefused("an operator lacks one of its inputs")
    return value


def _activated(x: Tensor, op: Operator) -> Tensor:
    kind = op.options.get("activation", 0)
    if kind not in _ACTIVATIONS:
        raise CheckpointRefused(f"activation {kind} of TensorFlow Lite is not known here")
    return _ACTIVATIONS[kind](x)


_OPERATORS: Mapping[str, Callable[[Graph, Operator, _Args], Tensor]] = {
    "add": _elementwise(torch.add),
    "concatenation": _concatenation,
    "conv_2d": _conv,
    "depthwise_conv_2d": _conv,
    "div": _elementwise(torch.div),
    "logistic": _elementwise(torch.sigmoid),
    "max_pool_2d": _max_pool,
    "mean": _reduced(torch.mean),
    "mul": _elementwise(torch.mul),
    "neg": _elementwise(torch.neg),
    "pad": _pad,
    "prelu": _prelu,
    "relu": _elementwise(torch.relu),
    "reshape": _reshape,
    "rsqrt": _elementwise(torch.rsqrt),
    "sqrt": _elementwise(torch.sqrt),
    "squared_difference": _elementwise(lambda a, b: (a - b).square()),
    "strided_slice": _strided_slice,
    "sub": _elementwise(torch.sub),
    "sum": _reduced(torch.sum),
    "transpose": _transpose,
}
