"""478 face landmarks of the largest face of an image, however large it is and wherever."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import FaceTooSmall, NoFaceFound
from engine.portrait.crop import FaceCrop
from engine.portrait.face_networks import FaceNetworks, square_around
from engine.portrait.second_look import SecondLook, look_again

_log = logging.getLogger(__name__)

MIN_FACE_PX: Final = 48
"""Smallest face, larger side of its landmarks' box, that leaves enough to animate."""

_MAX_FACES = 8
# Below MediaPipe's default of 0.5, for a doubtful face is better than none; in parts of an image, where textures look
# like faces, each is looked at twice.
_CONFIDENCE = 0.3
# A face that is followed is lost below this: half, as MediaPipe has it for videos.
_TRACKED = 0.5
# Images smaller than this are enlarged, and parts of larger ones are at least as large.
_SMALL_SIDE = 320
# Parts a side that an image without a found face is cut into, coarse first.
_PARTS = (2, 3, 5)

_Rgb = NDArray[np.uint8]
_Landmarks = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _View:
    """Pixels to search, their scale against the image, where their corner is in it, and whether all of it is there."""

    pixels: _Rgb
    scale: float
    left: float
    top: float
    whole: bool


class FaceLandmarker:
    """Finds the landmarks of the largest face of an image."""

    def __init__(self) -> None:
        self._networks = FaceNetworks()

    def detect(self, rgb: _Rgb) -> _Landmarks:
        """Landmarks (478, 3) px of the largest face: x right, y down, z in the same unit, smaller is nearer.

        Args:
            rgb: uint8 (H, W, 3).

        Raises:
            NoFaceFound: there is none. FaceTooSmall: it is smaller than 48 px.
        """
        faces = self.detect_all(rgb)
        if not faces:
            raise NoFaceFound("no face was found; use an image that shows one face from the front, well lit")
        largest = face_size(faces[0])
        if len(faces) > 1:
            _log.info("%d faces in the image; the largest, %.0f px, is used", len(faces), largest)
        if round(largest) < MIN_FACE_PX:
            raise FaceTooSmall(
                f"the face is {largest:.0f} px large; at least {MIN_FACE_PX} px are needed, "
                "use a closer or larger image"
            )
        return faces[0]

    def detect_all(self, rgb: _Rgb, *, thorough: bool = True) -> list[_Landmarks]:
        """Landmarks (478, 3) px of every face that the first successful look finds, largest first; may be none.

        Args:
            thorough: search on, part by part, where a plain look finds none: seconds where there is no face at all.
        """
        found = self._look(rgb) if thorough else self._run(rgb)
        return sorted(found, key=face_size, reverse=True)

    def track(self, rgb: _Rgb, last: _Landmarks) -> _Landmarks | None:
        """The face that was at ``last`` in the frame before, in a fifth of `detect_all`'s time; None if it is not."""
        found = self._networks.look(rgb, square_around(last))
        return (
            found.landmarks_px
            if found.presence >= _TRACKED and round(face_size(found.landmarks_px)) >= MIN_FACE_PX
            else None
        )

    def look_again(self, crop: FaceCrop, mirror: NDArray[np.int64]) -> SecondLook:
        """How well the crop's face is found again in changed pictures of it; ``mirror`` as for `look_again`."""
        return look_again(self._networks, crop, mirror)

    def _look(self, rgb: _Rgb) -> list[_Landmarks]:
        """Faces of the image, else of it in a wide frame, enlarged, or part by part.

        The detector works at 128 x 128 px: it misses faces that fill the image, and those below a seventh of it.
        """
        for views in _levels(rgb):
            found = [face for view in views for face in self._in_view(view)]
            if found and views[0].whole:
                return found
            for face in sorted(found, key=face_size, reverse=True):
                # Among so many parts some texture will look like a face once; a face does so twice.
                again = self._again(rgb, face)
                if again is not None:
                    return [again]
        return []

    def _in_view(self, view: _View) -> list[_Landmarks]:
        shift = np.array([view.left, view.top, 0], np.float32)
        return [(face / np.float32(view.scale) + shift).astype(np.float32) for face in self._run(view.pixels)]

    def _again(self, rgb: _Rgb, face: _Landmarks) -> _Landmarks | None:
        """Look once more around a face that a part of the image may have cut; None unless it is there again."""
        middle, reach = (face[:, :2].max(0) + face[:, :2].min(0)) / 2, 1.5 * face_size(face)
        left, top = np.maximum(middle - reach, 0).astype(int)
        right, bottom = (middle + reach).astype(int)
        found = self._in_view(_View(rgb[top:bottom, left:right], 1.0, float(left), float(top), False))
        nearest = min(found, key=lambda other: _distance(other, face), default=None)
        return nearest if nearest is not None and _distance(nearest, face) < 0.15 * face_size(face) else None

    def _run(self, pixels: _Rgb) -> list[_Landmarks]:
        return [face.landmarks_px for face in self._networks.find(pixels, _CONFIDENCE, _MAX_FACES)]


def _levels(rgb: _Rgb) -> Iterator[list[_View]]:
    """Ways to look at an image, from the plainest to the most laborious."""
    yield [_View(rgb, 1.0, 0.0, 0.0, True)]
    height, width = rgb.shape[:2]
    longer = max(height, width)
    scale = 2 * _SMALL_SIDE / longer if longer < _SMALL_SIDE or longer > 4 * _SMALL_SIDE else 1.0
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(rgb, size, interpolation=method) if scale != 1 else rgb
    if scale > 1:
        yield [_View(resized, scale, 0.0, 0.0, True)]
    for share in (0.35, 1.0):
        pad = round(share * max(resized.shape[:2]))
        framed = cv2.copyMakeBorder(resized, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(128, 128, 128))
        yield [_View(framed, scale, -pad / scale, -pad / scale, True)]
    for parts in _PARTS:
        tile = -(-2 * longer // (parts + 1))
        if tile < _SMALL_SIDE:
            return
        # Half overlapping, so that a face of half a tile lies whole in one of them.
        tops = sorted(set(np.linspace(0, max(0, height - tile), parts).round().astype(int).tolist()))
        lefts = sorted(set(np.linspace(0, max(0, width - tile), parts).round().astype(int).tolist()))
        yield [
            _View(rgb[top : top + tile, left : left + tile], 1.0, float(left), float(top), False)
            for top in tops
            for left in lefts
        ]


def face_size(landmarks: _Landmarks) -> float:
    """Larger side, px, of the box around landmarks (478, 3)."""
    return float((landmarks[:, :2].max(0) - landmarks[:, :2].min(0)).max())


def _distance(one: _Landmarks, other: _Landmarks) -> float:
    return float(np.linalg.norm(one[:, :2] - other[:, :2], axis=1).mean())
