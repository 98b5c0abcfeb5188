"""The table of triangles is MediaPipe's, and closes the face."""

from collections import Counter

import numpy as np
from mediapipe.tasks.python.vision import FaceLandmarksConnections

from engine.animator.mesh import topology


def test_triangles_are_those_of_mediapipe() -> None:
    edges = FaceLandmarksConnections.FACE_LANDMARKS_TESSELATION
    corners = np.array([edge.start for edge in edges]).reshape(-1, 3)
    ours = np.load(topology.__file__.replace("topology.py", "face_triangles.npy"))
    assert np.array_equal(ours, corners[:, ::-1])


def test_every_edge_but_the_outline_lies_between_two_triangles() -> None:
    triangles = topology.FACE_TRIANGLES
    edges = Counter(
        frozenset((int(a), int(b)))
        for triangle in triangles
        for a, b in zip(triangle, np.roll(triangle, -1), strict=True)
    )
    outline = topology.FACE_OVAL
    border = {frozenset(map(int, pair)) for pair in zip(outline, np.roll(outline, -1), strict=True)}
    assert {edge for edge, count in edges.items() if count != 2} == border
