"""Running the networks elsewhere than in eager PyTorch."""

from __future__ import annotations

from engine.runtime.graphs import Graph, animator_graph, eye_graph, lip_graphs, pose_graphs
from engine.runtime.onnx_export import export_onnx

__all__ = ["Graph", "animator_graph", "export_onnx", "eye_graph", "lip_graphs", "pose_graphs"]
