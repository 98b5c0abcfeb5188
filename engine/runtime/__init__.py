"""Running the networks elsewhere than in eager PyTorch."""

from engine.runtime.backends import BACKENDS, Backend, captured_step, neural_animator
from engine.runtime.captured_frame import CapturedFrameStep
from engine.runtime.compilation import CompiledFrame, FrameCompiler
from engine.runtime.cuda_graph import CapturedStep, cuda_graphs_enabled
from engine.runtime.engine_cache import CachedEngine, EngineCache, EngineKey
from engine.runtime.graphs import FinishedFrame, Graph, animator_graph, finished_graph, step_graph, window_graph
from engine.runtime.onnx_export import export_onnx

__all__ = [
    "BACKENDS",
    "Backend",
    "CachedEngine",
    "CapturedFrameStep",
    "CapturedStep",
    "CompiledFrame",
    "EngineCache",
    "EngineKey",
    "FinishedFrame",
    "FrameCompiler",
    "Graph",
    "animator_graph",
    "captured_step",
    "cuda_graphs_enabled",
    "export_onnx",
    "finished_graph",
    "neural_animator",
    "step_graph",
    "window_graph",
]
