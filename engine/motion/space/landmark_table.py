"""Which of the 478 MediaPipe face landmarks is which.

The mesh numbers the points on the mirror line and the points of the image-left half first (0..247), then the
image-right half in the same order (248..467), then five points per iris (468..477). "Left" and "right" in this file are
those of the image, so the subject's right eye is the left one.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LANDMARK_COUNT: Final = 478

_MIDLINE: Final = (
    0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    94, 151, 152, 164, 168, 175, 195, 197, 199, 200,
)  # fmt: skip


def _mirror_table() -> NDArray[np.int64]:
    table = np.arange(LANDMARK_COUNT)
    left = np.setdiff1d(np.arange(248), _MIDLINE)
    right = np.arange(248, 468)
    table[left], table[right] = right, left
    # The iris ring runs towards the image right, up, left, down in both eyes.
    table[[468, 469, 470, 471, 472]] = [473, 476, 475, 474, 477]
    table[[473, 476, 475, 474, 477]] = [468, 469, 470, 471, 472]
    return table


MIRROR: Final = _mirror_table()
"""(478,) int64: the point that takes the place of each point when the face is mirrored; its own inverse."""

IBUG_68: Final = np.array((
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,  # jaw 0..16
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows 17..26
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose bridge 27..30, nostrils 31..35
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes 36..47
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lips 48..59
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips 60..67
))  # fmt: skip
"""(68,) int64: MediaPipe index of each point of the iBUG-68 annotation, which the paper's equations use."""

BROWS_68: Final = slice(17, 27)
"""The ten brow points (paper Fig. 4)."""
EYES_AND_BROWS_68: Final = (*range(17, 27), *range(36, 48))
"""What the eye network moves, and SSIM_e and Var_e compare (App. B.2)."""
LIPS_68: Final = slice(48, 68)
"""The twenty points of both lip contours, which MLD compares."""
LIPS_AND_JAW_68: Final = (*range(3, 14), *range(48, 68))
"""The 31 points that speech moves: those of L_lms (Eq. 20)."""
INNER_LIP_PAIRS_68: Final = ((61, 67), (62, 66), (63, 65))
"""Upper and lower points across the inner lips, whose vertical distances Eq. 22 compares."""
UPPER_LIDS_68: Final = (37, 38, 43, 44)
LOWER_LIDS_68: Final = (41, 40, 47, 46)
"""Upper lid points, and the lower lid point under each."""

IRIS_LEFT: Final = (468, 469, 470, 471, 472)
IRIS_RIGHT: Final = (473, 474, 475, 476, 477)
IRIS_CENTRES: Final = (468, 473)
EYE_CORNERS: Final = ((33, 133), (263, 362))
"""Outer and inner corner of the left and of the right eye."""
OUTER_CORNERS: Final = (33, 263)
"""Outer eye corners; their distance in the mean face is the face unit."""

LID_LEFT: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LID_RIGHT: Final = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
"""Lid margins as closed rings: outer corner, along the upper lid, inner corner, back along the lower lid."""

INNER_LIPS: Final = (
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308,
    324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
OUTER_LIPS: Final = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291,
    375, 321, 405, 314, 17, 84, 181, 91, 146,
)  # fmt: skip
"""Lip contours as closed rings: image-left corner, along the upper lip, right corner, back along the lower lip."""

FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Outline of the face, from the top of the forehead clockwise as seen in the image."""

_RIGID_LEFT_AND_MIDLINE: Final = np.array((
    10, 151, 9, 8, 109, 67, 103, 54, 21, 162, 127,  # forehead
    108, 69, 104, 68, 71, 139, 34, 156, 143, 368,  # temple
    168, 6, 197, 195, 5, 4, 122, 193, 245, 188, 128,  # nose bridge
    33, 133, 130, 243, 173, 226, 113,  # eye corners
))  # fmt: skip

RIGID: Final = np.unique(np.concatenate((_RIGID_LEFT_AND_MIDLINE, MIRROR[_RIGID_LEFT_AND_MIDLINE])))
"""(66,) int64: points that hardly move with expression (forehead, temples, nose bridge, eye corners); symmetric."""


def mirror_landmarks(landmarks: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """Landmarks of the mirrored image.

    landmarks: (..., 478, 3) px in an image ``width`` px wide; with ``width`` 0, a shape about its mirror plane.
    """
    mirrored = np.asarray(landmarks)[..., MIRROR, :].copy()
    mirrored[..., 0] = width - mirrored[..., 0]
    return mirrored
