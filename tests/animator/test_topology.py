"""The table of triangles is MediaPipe's, and closes the face."""

import hashlib
from collections import Counter

import numpy as np

from engine.animator.mesh import topology

_DIGEST = "93658731b2d5434cb6cd9b40b4075fb6457a7db086586e01251599b11421db0a"


def test_triangles_are_those_of_mediapipe() -> None:
    """By the digest of FACE_LANDMARKS_TESSELATION, each triangle's corners in reverse."""
    ours = np.load(topology.__file__.replace("topology.py", "face_triangles.npy"))
    assert ours.shape == (852, 3)
    assert hashlib.sha256(ours.astype("<i2").tobytes()).hexdigest() == _DIGEST


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
