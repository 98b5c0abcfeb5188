"""The exported animator with its wide convolutions in 8-bit integers, calibrated on frames of its own."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_KERNEL = 3


def quantise(network: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write ``network`` with 3x3 convolutions in int8: weights by channel, activations by tensor.

    Flow and colour heads (1x1), FIR kernels, sampling and the latent code stay in float32: errors there move pixels.
    Transposed convolutions stay too, since OpenVINO 2026.4 runs quantised ones in float32 with conversions around them.

    Args:
        calibration: inputs of frames by name, from whose activations the ranges are taken.
    """
    onnx: Any = importlib.import_module("onnx")
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    graph = onnx.load(network).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    chosen = [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and (shape := shapes.get(node.input[1], [])) and len(shape) == 4
        if shape[2:] == [_KERNEL, _KERNEL] and shape[1] > 1
    ]
    logging.getLogger().setLevel(logging.ERROR)  # it advises a preprocessing that changes nothing here
    quantization.quantize_static(
        network,
        target,
        _Frames(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        nodes_to_quantize=chosen,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )


class _Frames:
    """What the quantiser asks for its frames."""

    def __init__(self, frames: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._frames: Iterator[Mapping[str, np.ndarray]] = iter(frames)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._frames, None)
