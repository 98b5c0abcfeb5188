"""Animators: from motion descriptors to pictures."""

from __future__ import annotations

from engine.animator.face_animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.geometric import GeometricAnimator, PreparedPortrait
from engine.animator.neural import NeuralAnimator, NeuralPortrait

__all__ = [
    "FaceAnimatorConfig",
    "FaceAnimatorNetwork",
    "GeometricAnimator",
    "NeuralAnimator",
    "NeuralPortrait",
    "PreparedPortrait",
]
