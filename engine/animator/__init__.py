"""Animators: from motion descriptors to pictures."""

from __future__ import annotations

from engine.animator.geometric import GeometricAnimator, PreparedPortrait

__all__ = ["GeometricAnimator", "PreparedPortrait"]
