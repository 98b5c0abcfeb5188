"""The per-frame step in OpenVINO, on the CPU, from the same ONNX file as ONNX Runtime runs."""

import importlib
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.animator.network.step import FrameInputs, FrameStep
from engine.errors import BackendUnavailable

_THREADS = 2
"""Of one frame, where there are as many cores: the second halves what a live session waits for, and more of them win
little on maps as small as these.
"""


def openvino_step(network: bytes, *, precision: str = "f32", threads: int | None = None) -> FrameStep:
    """The step as an exported `step_graph` computes it.

    Compiled for one row: shapes that are fixed are twice as fast as open ones, and a CPU wins nothing by batches.

    Args:
        precision: of what is not quantised, "f32", "bf16" or "f16". Left to itself, OpenVINO takes bfloat16 on CPUs
            that have it, which without matrix tiles is slower, and makes worse images.
        threads: None is two, on a machine with two cores.

    Raises:
        BackendUnavailable: OpenVINO refuses the network.
    """
    openvino: Any = importlib.import_module("openvino")
    properties = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads or min(_THREADS, os.cpu_count() or 1),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # The server's encoders and other workers share the cores.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        core = openvino.Core()
        model = core.read_model(network, b"")
        model.reshape({port.any_name: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
        compiled = core.compile_model(model, "CPU", properties)
    except Exception as error:  # RuntimeError as a rule; bindings raise others for broken files
        raise BackendUnavailable(f"OpenVINO cannot run the animator: {error}") from error
    idle: list[Any] = []

    def row(inputs: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        # A request is one caller's at a time; list operations are atomic.
        request = idle.pop() if idle else compiled.create_infer_request()
        try:
            image = request.infer(inputs, share_inputs=True, share_outputs=True)[0]
            return np.array(image)
        finally:
            idle.append(request)

    def step(inputs: FrameInputs) -> Tensor:
        arrays = [tensor.numpy() for tensor in inputs.flat()]
        images = [row([array[index : index + 1] for array in arrays]) for index in range(len(arrays[0]))]
        return torch.from_numpy(images[0] if len(images) == 1 else np.concatenate(images))

    return step
