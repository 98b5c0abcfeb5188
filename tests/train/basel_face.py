"""A synthetic face in the layout of a Basel Face Model file."""

from pathlib import Path

import numpy as np
import pytest


def face_file(path: Path, *, slit: bool = True, **changes: object) -> Path:
    """A flat synthetic face in the layout of BFM_model_front.mat: a grid with a slit for a mouth, y up."""
    scipy_io = pytest.importorskip("scipy.io")
    side = 21
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(1, -1, side))
    vertices = np.stack([x.ravel(), y.ravel(), 0.2 * np.cos(2 * x.ravel())], 1)
    mouth_row, columns = 13, np.arange(7, 14)
    rim = mouth_row * side + columns
    lower = np.arange(len(columns) - 2) + len(vertices)
    vertices = np.concatenate([vertices, vertices[rim[1:-1]]])
    below = dict(zip(rim[1:-1].tolist(), lower.tolist(), strict=True)) if slit else {}
    triangles = []
    for row in range(side - 1):
        for column in range(side - 1):
            a = row * side + column
            for triangle in ((a, a + side, a + 1), (a + 1, a + side, a + side + 1)):
                moved = [below.get(v, v) if row >= mouth_row else v for v in triangle]
                triangles.append(moved)
    keypoints = np.arange(68)
    keypoints[[36, 45]] = 6 * side + 4, 6 * side + 16
    keypoints[[37, 38, 43, 44]] = 5 * side + np.array([5, 6, 14, 15])
    keypoints[[41, 40, 47, 46]] = 7 * side + np.array([5, 6, 14, 15])
    keypoints[[48, 54]] = rim[[0, -1]]
    keypoints[60:65] = rim[[0, 2, 3, 4, 6]]
    keypoints[65:68] = lower[[3, 2, 1]]
    basis = np.zeros((64, len(vertices), 3))
    basis[0, lower, 1] = -0.1
    parts = {
        "meanshape": vertices.reshape(1, -1),
        "exBase": basis.reshape(64, -1).T,
        "tri": np.array(triangles) + 1,
        "keypoints": keypoints[None] + 1,
        "meantex": np.full((1, 3 * len(vertices)), 200.0),
    } | changes
    scipy_io.savemat(path, {key: value for key, value in parts.items() if value is not None})
    return path
