"""A second look at a face: what is one keeps its landmarks when its picture is turned, mirrored or seen nearer.

The networks find landmarks in any texture that is a little like a face, but elsewhere at each look.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.portrait.crop import FaceCrop
from engine.portrait.face_networks import FaceNetworks

# (roll in degrees, enlargement, mirrored) of each look. A twelfth of a right angle and a quarter of the size are more
# than the detector's own unsteadiness, and little enough for a face to be found again.
_LOOKS: Final = (
    (0.0, 1.0, False), (0.0, 1.0, True), (12.0, 1.0, False), (-12.0, 0.8, False), (0.0, 1.15, False), (0.0, 0.7, False),
)  # fmt: skip
_CONFIDENCE = 0.3
_MOST_FACES = 4

_Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class SecondLook:
    """How well the looks agree with the landmarks that were found first.

    Attributes:
        disagreement: mean distance of the landmarks, as a share of the face's size, at the look where it was largest;
            infinite where a look found no face.
        presence: 0..1, how sure the landmark network was of a face, where it was least sure.
    """

    disagreement: float
    presence: float


def look_again(networks: FaceNetworks, crop: FaceCrop, mirror: NDArray[np.int64]) -> SecondLook:
    """Find the face of a crop anew in changed pictures of it.

    Args:
        mirror: (478,) the landmark that takes the place of each one in a mirrored picture.
    """
    height, width = crop.rgb.shape[:2]
    points = crop.landmarks_px[:, :2].astype(np.float64)
    size = float((points.max(0) - points.min(0)).max())
    disagreement, presence = 0.0, 1.0
    for roll, enlarged, mirrored in _LOOKS:
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), roll, enlarged)
        expected = points @ matrix[:, :2].T + matrix[:, 2]
        picture = cv2.warpAffine(crop.rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        if mirrored:
            picture, expected = np.ascontiguousarray(picture[:, ::-1]), expected[mirror] * [-1, 1] + [width, 0]
        found = networks.find(picture, _CONFIDENCE, _MOST_FACES)
        if not found:
            return SecondLook(float("inf"), 0.0)
        distances = [_distance(face.landmarks_px, expected) for face in found]
        nearest = int(np.argmin(distances))
        disagreement = max(disagreement, distances[nearest] / (size * enlarged))
        presence = min(presence, found[nearest].presence)
    return SecondLook(disagreement, presence)


def _distance(landmarks_px: _Array, expected_px: _Array) -> float:
    return float(np.linalg.norm(landmarks_px[:, :2] - expected_px, axis=1).mean())
