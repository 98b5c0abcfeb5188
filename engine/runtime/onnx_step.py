"""The per-frame step in ONNX Runtime, on the CPU."""

from __future__ import annotations

import importlib
import importlib.util

import torch
from torch import Tensor

from engine.animator.step import FrameStep
from engine.errors import BackendUnavailable, MissingDependency

__all__ = ["onnx_step", "onnx_version"]

_INSTALL = "pip install 'gohd-live[onnx]'"


def onnx_version() -> str:
    """Version of ONNX Runtime.

    Raises:
        MissingDependency: it, or what exports for it, is not installed.
    """
    missing = [
        name for name in ("onnxruntime", "onnx", "onnxscript") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise MissingDependency(f"backend 'onnx' needs {' and '.join(missing)}: {_INSTALL}")
    return str(importlib.import_module("onnxruntime").__version__)


def onnx_step(network: bytes) -> FrameStep:
    """The step as an exported `animator_graph` with ``as_bytes`` computes it, with as many threads as torch has.

    Raises:
        BackendUnavailable: ONNX Runtime refuses the network.
    """
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        raise BackendUnavailable(f"ONNX Runtime cannot run the animator: {error}") from error
    names = [tensor.name for tensor in session.get_inputs()]

    def step(
        identity_code_BS: Tensor, window_BTD: Tensor, intensity_B: Tensor, features: tuple[Tensor, ...]
    ) -> Tensor:
        inputs = (identity_code_BS, window_BTD, intensity_B, *features)
        arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return step
