"""A hop of `PoseWindow` as one network in OpenVINO, on the CPU: a third of the time, and no other thread waits for it.

Step by step a hop is some 1 200 small operations, each with PyTorch's own costs and with the interpreter's lock.
"""

import functools
import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint import WeightsFolder
from engine.openvino_network import OpenVinoNetwork


class OpenVinoWindow:
    """What `PoseWindow.sample` computes, from the ONNX file of `engine.runtime.graphs.window_graph`.

    It is compiled at the first hop, which takes half a second.
    """

    def __init__(self, network: Path) -> None:
        self._network = network

    @functools.cached_property
    def _row(self) -> OpenVinoNetwork:
        return OpenVinoNetwork(self._network, precision="f32", threads=1)

    def __call__(self, residual_BWC: Tensor, noise_BWC: Tensor, prosody_BWM: Tensor, initial_BC: Tensor) -> Tensor:
        arrays = [tensor.numpy() for tensor in (residual_BWC, noise_BWC, prosody_BWM, initial_BC)]
        rows = [self._row(*(array[row : row + 1] for array in arrays))[0] for row in range(len(arrays[0]))]
        return torch.cat([torch.from_numpy(row) for row in rows])


def bundled_window(folder: WeightsFolder, part: str) -> Path:
    """Where a weights folder keeps the window of ``part`` ("pose", "gaze") for the CPU, if it brings it.

    The name holds a hash of all that the network was made from: with other weights or settings nothing asks for it.
    """
    made_from = [folder.section(f"{part}{suffix}") for suffix in ("", "_window", "_unconditional")]
    files = [folder.checksum(f"{name}.safetensors") for name in (part, f"{part}_unconditional") if folder.section(name)]
    text = json.dumps([made_from, files], sort_keys=True)
    return folder.path / f"{part}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.onnx"
