"""Engines out of graphs: ahead of time, strongly typed, without plugins."""

import importlib
import logging
from types import ModuleType
from typing import Any

import torch

from engine.errors import BackendUnavailable
from engine.runtime.graphs import Graph
from engine.runtime.tensorrt_package import Package

_log = logging.getLogger(__name__)


def build_from_onnx(package: Package, onnx: bytes, target: str) -> bytes:
    """A serialised engine of an ONNX network, whose types it keeps as they are.

    Args:
        package: "tensorrt-rtx", which needs no GPU, or "tensorrt".
        target: compute capability, as "sm86"; for "tensorrt" that of the card that is present.

    Raises:
        BackendUnavailable: the package refuses the network; the message has its reasons.
    """
    trt = package.load()
    logger = tensorrt_logger(trt)
    builder = trt.Builder(logger)
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise BackendUnavailable(f"{package.via} {package.version} cannot read the network: {reasons}")
    config = builder.create_builder_config()
    if package.builds_without_gpu:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendUnavailable(f"{package.via} {package.version} built no engine for {target}; see its log")
    return bytes(plan)


def build_from_torch(graph: Graph, rows: int, device: str = "cuda") -> bytes:
    """A serialised engine by torch-tensorrt, of the module itself; for the card that is present.

    Its types are the module's: torch-tensorrt 2.14 makes strongly typed networks only.

    Raises:
        BackendUnavailable: it cannot convert the module as a whole.
    """
    dynamo = importlib.import_module("torch_tensorrt.dynamo")
    module = graph.module.to(device)
    inputs = tuple(tensor.to(device) for tensor in graph.example(rows))
    with torch.no_grad():
        program = torch.export.export(module, inputs)
        try:
            plan = dynamo.convert_exported_program_to_serialized_trt_engine(
                program, arg_inputs=inputs, require_full_compilation=True
            )
        except RuntimeError as error:
            raise BackendUnavailable(f"torch-tensorrt cannot convert {graph.name}: {error}") from error
    return bytes(plan)


def tensorrt_logger(trt: ModuleType) -> Any:
    """What the package has to say, in our log."""
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.DEBUG,  # of half precision constants, mostly
        trt.ILogger.Severity.INFO: logging.DEBUG,
        trt.ILogger.Severity.VERBOSE: logging.NOTSET,
    }

    class _Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if level := levels.get(severity, logging.DEBUG):
                _log.log(level, "%s", message)

    return _Logger()
