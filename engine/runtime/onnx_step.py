"""The per-frame step from its ONNX file, on the CPU: in OpenVINO where it is installed, else in ONNX Runtime.

OpenVINO is the faster of the two by a third to a half (benchmarks/animator/cpu.py).
"""

import importlib
import importlib.util
import logging

import torch
from torch import Tensor

from engine.animator.network.step import FrameInputs, FrameStep
from engine.errors import BackendUnavailable, MissingDependency
from engine.runtime.openvino_step import openvino_step

_INSTALL = "pip install 'gohd-live[onnx]'"
_EXPORTERS, _RUNNERS = ("onnx", "onnxscript"), ("openvino", "onnxruntime")
_log = logging.getLogger(__name__)


def onnx_version() -> str:
    """Version of what exports the network.

    Raises:
        MissingDependency: it is not installed, or nothing that runs what is exported.
    """
    onnx_runner()
    missing = [name for name in _EXPORTERS if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependency(f"backend 'onnx' needs {' and '.join(missing)}: {_INSTALL}")
    return "onnxscript " + str(importlib.import_module("onnxscript").__version__)


def onnx_runner() -> str:
    """Package that runs ONNX files here: "openvino" before "onnxruntime".

    Raises:
        MissingDependency: neither is installed.
    """
    for name in _RUNNERS:
        if importlib.util.find_spec(name) is not None:
            return name
    raise MissingDependency(f"backend 'onnx' needs {' or '.join(_RUNNERS)}: {_INSTALL}")


def onnx_step(network: bytes) -> FrameStep:
    """The step as an exported `step_graph` computes it.

    Raises:
        MissingDependency: nothing here runs ONNX files. BackendUnavailable: what does refuses this one.
    """
    if onnx_runner() == "onnxruntime":
        _log.info("the animator runs in ONNX Runtime; OpenVINO is faster: pip install openvino")
        return onnxruntime_step(network)
    try:
        return openvino_step(network)
    except BackendUnavailable as error:
        if importlib.util.find_spec("onnxruntime") is None:
            raise
        _log.warning("the animator runs in ONNX Runtime, which is slower: %s", error)
        return onnxruntime_step(network)


def onnxruntime_step(network: bytes) -> FrameStep:
    """`onnx_step` by ONNX Runtime.

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

    def step(inputs: FrameInputs) -> Tensor:
        arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs.flat(), strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return step
