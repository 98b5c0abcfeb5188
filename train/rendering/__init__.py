"""Mouth images of expressions, differentiable, for the lip reading loss (Eq. 23)."""

from train.rendering.mesh import MouthMesh, landmark_mouth_mesh, surface_mouth_mesh
from train.rendering.mouth import MouthRenderer
from train.rendering.rasteriser import interpolate, visible_triangles
from train.rendering.reading import MouthReader, RandomLipReader

__all__ = [
    "MouthMesh",
    "MouthReader",
    "MouthRenderer",
    "RandomLipReader",
    "interpolate",
    "landmark_mouth_mesh",
    "surface_mouth_mesh",
    "visible_triangles",
]
