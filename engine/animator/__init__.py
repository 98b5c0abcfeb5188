"""Animators: from motion descriptors to images."""

from engine.animator.mesh.geometric import GeometricAnimator, PreparedPortrait
from engine.animator.network.face_animator import PRESETS, FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.neural import NeuralAnimator, NeuralPortrait

__all__ = [
    "PRESETS",
    "FaceAnimatorConfig",
    "FaceAnimatorNetwork",
    "GeometricAnimator",
    "NeuralAnimator",
    "NeuralPortrait",
    "PreparedPortrait",
]
