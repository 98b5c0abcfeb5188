"""Running the networks elsewhere than in eager PyTorch."""

from __future__ import annotations

from engine.runtime.backends import BACKENDS, Backend, captured_step, neural_animator
from engine.runtime.captured_frame import CapturedFrameStep
from engine.runtime.compilation import CompiledFrame, FrameCompiler
from engine.runtime.cuda_graph import CapturedStep, cuda_graphs_enabled
from engine.runtime.engine_cache import CachedEngine, EngineCache, EngineKey
from engine.runtime.graphs import (
    FinishedFrame,
    Graph,
    animator_graph,
    eye_graph,
    finished_graph,
    lip_graphs,
    pose_graphs,
)
from engine.runtime.onnx_export import export_onnx
from engine.runtime.pose_graph import captured_pose_window

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
    "captured_pose_window",
    "captured_step",
    "cuda_graphs_enabled",
    "export_onnx",
    "eye_graph",
    "finished_graph",
    "lip_graphs",
    "neural_animator",
    "pose_graphs",
]
