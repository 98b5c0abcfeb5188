"""ONNX files of the per-frame graphs, as ONNX Runtime, OpenVINO and TensorRT read them."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from engine.errors import MissingDependency
from engine.runtime.graphs import Graph

_OPSET = 20
_PACKAGES = ("onnx", "onnxscript")


def export_onnx(graph: Graph, path: Path, *, dynamic_batch: bool = False, rows: int = 1) -> None:
    """Write ``graph`` as one ONNX file, weights inside.

    Args:
        dynamic_batch: leave the number of rows open, for sessions that share a pass.
        rows: how many there are otherwise.

    Raises:
        MissingDependency: the ``onnx`` extra is not installed.
    """
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingDependency(f"exporting ONNX needs {' and '.join(missing)}: pip install 'gohd-live[onnx]'")
    rows = 2 if dynamic_batch else rows
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph.module,
            graph.example(rows),
            dynamo=True,
            verbose=False,
            opset_version=_OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=_open_batch(graph) if dynamic_batch else None,
        )
    assert program is not None
    from onnx_ir.passes.common import DeduplicateInitializersPass

    # A network that runs several times in a graph leaves its transposed weights there as often.
    DeduplicateInitializersPass(size_limit=2**30)(program.model)
    program.save(path, external_data=False)


def _open_batch(graph: Graph) -> tuple[object, ...]:
    """Shapes with an open first dimension; what the module takes as ``*args`` is one tuple of them."""
    batch = torch.export.Dim("batch")
    shapes = [{} if name in graph.shared else {0: batch} for name in graph.inputs]
    code = graph.module.forward.__code__
    named = code.co_argcount - 1
    takes_more = len(shapes) > named
    return (*shapes[:named], tuple(shapes[named:])) if takes_more else tuple(shapes)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own internals and of packages that we do without."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
