"""Animators: from motion descriptors to images."""

from engine.animator.mesh.cpu_renderer import CpuRig
from engine.animator.mesh.geometric import GeometricAnimator
from engine.animator.network.face_animator import PRESETS, FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.neural import NeuralAnimator, NeuralPortrait

__all__ = [
    "PRESETS",
    "CpuRig",
    "FaceAnimatorConfig",
    "FaceAnimatorNetwork",
    "GeometricAnimator",
    "NeuralAnimator",
    "NeuralPortrait",
]
