"""The per-frame step in OpenVINO, on the CPU, from the same ONNX file as ONNX Runtime runs."""

import os

import numpy as np
import torch
from torch import Tensor

from engine.animator.network.step import FrameInputs, FrameStep
from engine.errors import BackendUnavailable
from engine.openvino_network import OpenVinoNetwork

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
    try:
        row = OpenVinoNetwork(network, precision=precision, threads=threads or min(_THREADS, os.cpu_count() or 1))
    except Exception as error:  # RuntimeError as a rule; bindings raise others for broken files
        raise BackendUnavailable(f"OpenVINO cannot run the animator: {error}") from error

    def step(inputs: FrameInputs) -> Tensor:
        arrays = [tensor.numpy() for tensor in inputs.flat()]
        images = [row(*(array[index : index + 1] for array in arrays))[0] for index in range(len(arrays[0]))]
        return torch.from_numpy(images[0] if len(images) == 1 else np.concatenate(images))

    return step
