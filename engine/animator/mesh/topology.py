"""Triangles and named point sets of the 478-point MediaPipe face mesh.

The 852 surface triangles (``face_triangles.npy``) are the face tessellation published with MediaPipe (Apache-2.0,
Google). Mouth and eyes are left out there and closed here by strips between the upper and the lower contour.
"""

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.motion.space import landmark_table

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """Point indices of one eye; contours run from the corner at image left to the one at image right.

    Attributes:
        upper, lower: lid contours, both with the two corners as end points.
        crease: points of the upper-lid fold, one for each inner point of ``upper``.
        lashes: mesh vertices of our own between the two, see ``LASH_VERTICES``.
        iris: centre, then the four points around it.
    """

    upper: IntArray
    lower: IntArray
    crease: IntArray
    lashes: IntArray
    iris: IntArray


FACE_POINTS: Final = 468
"""Landmarks that are mesh vertices: all but the irises."""

LASH_VERTICES: Final = 14
"""Vertices that follow the landmarks in the mesh: a second row above each upper lid contour. It rides with the contour,
so that lashes are not stretched when the lid comes down; the skin above them is.
"""

FACE_OVAL: Final[IntArray] = np.array(landmark_table.FACE_OVAL)
"""Outline of the mesh, from the top of the forehead clockwise as seen in the image."""


def _contours(ring: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Upper and lower half of a closed ring that begins at image left and runs along the upper side first.

    Both run left to right and share the corners.
    """
    right = len(ring) // 2
    return np.array(ring[: right + 1]), np.array((ring[0], *ring[: right - 1 : -1]))


def _eye(ring: tuple[int, ...], crease: list[int], iris: tuple[int, ...], first_lash: int) -> Eye:
    upper, lower = _contours(ring)
    return Eye(upper, lower, np.array(crease), first_lash + np.arange(len(crease)), np.array(iris))


MOUTH_UPPER, MOUTH_LOWER = _contours(landmark_table.INNER_LIPS)
"""Inner lip contours, image left to right, sharing both corners."""

CHIN: Final[IntArray] = np.array([152, 148, 377, 175, 199, 200])
"""Landmarks that follow the jaw."""

# The table lists the right eye from its outer corner too, which lies at image right: turned round, it begins at left.
_RIGHT_RING = (*landmark_table.LID_RIGHT[8::-1], *landmark_table.LID_RIGHT[:8:-1])

EYES: Final[tuple[Eye, Eye]] = (
    _eye(landmark_table.LID_LEFT, [247, 30, 29, 27, 28, 56, 190], landmark_table.IRIS_LEFT, FACE_POINTS),
    _eye(_RIGHT_RING, [414, 286, 258, 257, 259, 260, 467], landmark_table.IRIS_RIGHT, FACE_POINTS + 7),
)
"""At image left (the subject's right eye) and at image right."""


def _strip(upper: IntArray, lower: IntArray) -> list[tuple[int, int, int]]:
    """Triangles between two contours of equal length that share both end points."""
    triangles = []
    for k in range(len(upper) - 1):
        if k > 0:
            triangles.append((int(upper[k]), int(upper[k + 1]), int(lower[k])))
        if k < len(upper) - 2:
            triangles.append((int(upper[k + 1]), int(lower[k + 1]), int(lower[k])))
    return triangles


def _with_lashes(surface: IntArray) -> IntArray:
    """The surface with its upper lid contours replaced by the lash rows, and the bands between the two."""
    renamed = np.arange(FACE_POINTS + LASH_VERTICES)
    bands = []
    for eye in EYES:
        renamed[eye.upper[1:-1]] = eye.lashes
        row = np.concatenate([eye.upper[:1], eye.lashes, eye.upper[-1:]])
        bands.append(np.array(_strip(row, eye.upper)))
    return np.concatenate([renamed[surface], *bands])


def _face_triangles() -> IntArray:
    surface = np.load(Path(__file__).with_name("face_triangles.npy")).astype(np.int64)
    openings = [(MOUTH_UPPER, MOUTH_LOWER), *((eye.upper, eye.lower) for eye in EYES)]
    return np.concatenate([_with_lashes(surface), *(np.array(_strip(upper, lower)) for upper, lower in openings)])


FACE_TRIANGLES: Final[IntArray] = _face_triangles()
"""(926, 3): every triangle of the closed face, clockwise as seen from the front."""
