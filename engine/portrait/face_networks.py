"""Faces of an image by the three networks of MediaPipe's face landmarker (Apache-2.0), run in OpenVINO.

    image --letterbox, 128 px--> detector --boxes and eyes--> rotated squares --256 px--> 478 landmarks, presence

Decoding follows MediaPipe's graphs (face_detector_graph, face_landmarks_detector_graph). Its own runtime reports its
use to its maker when it is closed, and has no switch for that; the networks alone do not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import WeightsCorrupt, WeightsNotFound
from engine.openvino_network import OpenVinoNetwork

ASSETS: Final = Path(__file__).parent / "assets"
"""Holds ``face_detector.tflite``, ``face_landmarks_detector.tflite`` and ``face_blendshapes.tflite``."""

_DETECTOR_PX, _LANDMARKS_PX = 128, 256
# (stride, anchors a place) of the detector's two maps.
_ANCHORS = ((8, 2), (16, 6))
# Boxes that overlap by more are one face, the mean of them weighted by their scores.
_SAME_FACE_OVERLAP = 0.5
# The landmark network sees one and a half times the detector's box.
_SQUARE_PER_BOX = 1.5

# Outer corners of the eyes, image left and right.
_OUTER_CORNERS = (33, 263)

_Rgb = NDArray[np.uint8]
_F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FoundFace:
    """One face.

    Attributes:
        landmarks_px: float32 (478, 3); x right, y down from the corner of the image, z in the same unit, smaller is
            nearer.
        presence: 0..1, how sure the landmark network is that its square shows a face.
    """

    landmarks_px: _F32
    presence: float


class FaceNetworks:
    """The networks, compiled for one core. Any thread may call them.

    Raises:
        WeightsNotFound: the package lacks its face model. WeightsCorrupt: it is damaged.
    """

    def __init__(self) -> None:
        self._detector = _network("face_detector", _DETECTOR_PX)
        self._landmarks = _network("face_landmarks_detector", _LANDMARKS_PX)
        self._anchors_N2 = _anchors()

    def find(self, rgb: _Rgb, least: float, most_faces: int) -> list[FoundFace]:
        """Faces of an image, uint8 (H, W, 3), surest first.

        Args:
            least: confidence 0..1 below which neither a box nor its landmarks count.
            most_faces: boxes that are looked into.
        """
        faces = [self.look(rgb, square) for square in self._squares(rgb, least)[:most_faces]]
        return [face for face in faces if face.presence >= least]

    def look(self, rgb: _Rgb, square: _F32) -> FoundFace:
        """What the landmark network sees in a square (4,): middle x, y and side in px, and its roll in radians."""
        x, y, side, roll = (float(value) for value in square)
        texel = side / _LANDMARKS_PX
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        # From pixels of the cut to those of the image, both counted from the corner, then from the first one's middle.
        start = np.array([x, y]) - turn @ np.full(2, side / 2)
        matrix = np.concatenate([texel * turn, (start + texel * turn @ np.full(2, 0.5) - 0.5)[:, None]], axis=1)
        size = (_LANDMARKS_PX, _LANDMARKS_PX)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(rgb, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        found = self._landmarks(cut[None].astype(np.float32) / np.float32(255))
        points, score = found[0].reshape(-1, 3).astype(np.float64), float(found[1].reshape(-1)[0])
        placed = np.concatenate([points[:, :2] * texel @ turn.T + start, points[:, 2:] * texel], axis=1)
        return FoundFace(placed.astype(np.float32), 1 / (1 + float(np.exp(-score))))

    def _squares(self, rgb: _Rgb, least: float) -> _F32:
        """Squares (F, 4) around the faces that the detector finds, surest first; as `look` takes them."""
        height, width = rgb.shape[:2]
        longer = max(height, width)
        scale = _DETECTOR_PX / longer
        left, top = (longer - width) / 2, (longer - height) / 2
        matrix = np.array([[1 / scale, 0, 0.5 / scale - 0.5 - left], [0, 1 / scale, 0.5 / scale - 0.5 - top]])
        size = (_DETECTOR_PX, _DETECTOR_PX)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        small = cv2.warpAffine(rgb, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
        found = self._detector(small[None].astype(np.float32) / np.float32(127.5) - np.float32(1))
        numbers_N8C, logits_N = found[0].reshape(-1, 8, 2), found[1].reshape(-1)
        scores_N = 1 / (1 + np.exp(-np.clip(logits_N, -80, 80)))
        sure = np.flatnonzero(scores_N >= least)
        # Middle and size of the box, then six points of which the first two are the eyes.
        points_N8C = numbers_N8C[sure] / _DETECTOR_PX
        points_N8C[:, [0, *range(2, 8)]] += self._anchors_N2[sure, None]
        merged = _merged(np.asarray(points_N8C, np.float32), np.asarray(scores_N[sure], np.float32))
        squares = []
        for points in merged:
            middle, box, eyes = points[0], points[1], points[2:4]
            roll = np.arctan2(*(eyes[1] - eyes[0])[::-1])
            place = middle * longer - [left, top]
            squares.append([*place, _SQUARE_PER_BOX * longer * float(box.max()), roll])
        return np.array(squares, np.float32).reshape(-1, 4)


def square_around(landmarks_px: _F32) -> _F32:
    """The square (4,) in which the landmark network sees a face best, as `FaceNetworks.look` takes it."""
    points = landmarks_px[:, :2].astype(np.float64)
    across = points[_OUTER_CORNERS[1]] - points[_OUTER_CORNERS[0]]
    roll = float(np.arctan2(across[1], across[0]))
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    level = points @ turn
    low, high = level.min(0), level.max(0)
    return np.array([*(turn @ ((low + high) / 2)), _SQUARE_PER_BOX * (high - low).max(), roll], np.float32)


def _network(name: str, size_px: int) -> OpenVinoNetwork:
    path = ASSETS / f"{name}.tflite"
    if not path.is_file():
        raise WeightsNotFound(f"the face model {path} is missing; install the package again")
    try:
        return OpenVinoNetwork(path, [1, size_px, size_px, 3], precision="f32", threads=1)
    except RuntimeError as error:
        raise WeightsCorrupt(f"the face model {path} cannot be read: {error}; install the package again") from error


def _anchors() -> _F32:
    """Middles (896, 2) of the detector's anchors, as shares of its input."""
    rows = []
    for stride, count in _ANCHORS:
        side = _DETECTOR_PX // stride
        y, x = np.mgrid[0:side, 0:side]
        middles = (np.stack([x, y], -1).reshape(-1, 1, 2) + 0.5) / side
        rows.append(np.repeat(middles, count, axis=1).reshape(-1, 2))
    return np.concatenate(rows).astype(np.float32)


def _merged(points_N8C: _F32, scores_N: _F32) -> list[_F32]:
    """Weighted non-maximum suppression: one (8, 2) a face, surest first."""
    rest = np.argsort(-scores_N, kind="stable")
    faces = []
    while rest.size:
        overlap = _overlap(points_N8C[rest[0], :2], points_N8C[rest, :2])
        same = rest[overlap > _SAME_FACE_OVERLAP] if overlap[0] > _SAME_FACE_OVERLAP else rest[:1]
        weight = scores_N[same] / scores_N[same].sum()
        faces.append(np.asarray((points_N8C[same] * weight[:, None, None]).sum(0), np.float32))
        rest = rest[~np.isin(rest, same)]
    return faces


def _overlap(box: _F32, boxes: _F32) -> _F32:
    """Intersection over union (N,) of boxes (N, 2, 2), middle and size each, with one of them."""
    low = np.maximum(box[0] - box[1] / 2, boxes[:, 0] - boxes[:, 1] / 2)
    high = np.minimum(box[0] + box[1] / 2, boxes[:, 0] + boxes[:, 1] / 2)
    shared = np.maximum(high - low, 0).prod(1)
    return np.asarray(shared / np.maximum(box[1].prod() + boxes[:, 1].prod(1) - shared, 1e-9), np.float32)
