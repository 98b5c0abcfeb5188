"""The square head-and-shoulders crop that everything after enrolment works in.

+-----------------+   side = 1.9 x the face, down to 1.65 in a tight image
|      hair       |
|    +-------+    |   the face: extent of its landmarks, forehead to chin
|    | face  |    |
|    +-------+    |   its centre a little below the middle
|    shoulders    |
+-----------------+
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CROP_SIZE: Final = 256
"""Side of a crop in pixels where nothing else is asked for; what the networks were trained at."""

CROP_SIZES: Final = (256, 384, 512, 768, 1024)
"""Sides that can be asked for."""

# Of the head's own pixels: enlarging by so little costs no sharpness that can be seen.
_MOST_ENLARGED = 1.1
# Shares of the face's larger side. Room for hair and for a head that turns; in a tight image the crop gives up some of
# it and shifts by the slack, before the image's edge has to be continued.
_SIDE_PER_FACE = 1.9
_TIGHT_SIDE_PER_FACE = 1.65
_LIFT_PER_FACE = 0.1
_SLACK_PER_FACE = 0.12
# Beyond the image's edge: pixels of a crop of `CROP_SIZE` until it is all blurred, and from there until the backdrop.
_FEATHER_PX = 12.0
_FADE_PX = 28.0
# The corners of the image, as parts of its sides, whose colour is taken for what is behind the head.
_CORNER, _DARK_CORNER = 10, 0.7


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A square crop. Coordinates count from the corner of an image, so the middle of the first pixel is at 0.5.

    Attributes:
        rgb: uint8 (size, size, 3).
        landmarks_px: float32 (478, 3), in crop px.
        matrix: float32 (2, 3), from image px to crop px.
    """

    rgb: NDArray[np.uint8]
    landmarks_px: NDArray[np.float32]
    matrix: NDArray[np.float32]


def crop_face(rgb: NDArray[np.uint8], landmarks_px: NDArray[np.floating], size: int = CROP_SIZE) -> FaceCrop:
    """Crop the head out of an image (H, W, 3) with landmarks (478, 3) px.

    Where the crop leaves the image its edge is continued and blurred, so that no border shows.
    """
    points = np.asarray(landmarks_px, np.float64)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    face = float((high - low).max())
    corner, side = _place((low + high) / 2, face, (rgb.shape[1], rgb.shape[0]))
    scale = size / side
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    moved = points * scale
    moved[:, :2] += matrix[:, 2]
    pixels = _cut(rgb, corner, side, size)
    return FaceCrop(pixels, moved.astype(np.float32), matrix.astype(np.float32))


def shrink_crop(crop: FaceCrop, size: int) -> FaceCrop:
    """The same crop with a smaller side, ``size`` px."""
    factor = size / crop.rgb.shape[0]
    rgb = np.asarray(cv2.resize(crop.rgb, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    return FaceCrop(rgb, (crop.landmarks_px * factor).astype(np.float32), (crop.matrix * factor).astype(np.float32))


def largest_size(rgb: NDArray[np.uint8], landmarks_px: NDArray[np.floating]) -> int:
    """The largest of `CROP_SIZES` that the head of an image (H, W, 3) has the pixels for; at least the smallest."""
    points = np.asarray(landmarks_px, np.float64)[:, :2]
    low, high = points.min(0), points.max(0)
    _, side = _place((low + high) / 2, float((high - low).max()), (rgb.shape[1], rgb.shape[0]))
    return max((size for size in CROP_SIZES if size <= _MOST_ENLARGED * side), default=CROP_SIZES[0])


def _place(middle: NDArray[np.float64], face: float, image: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Corner and side of the crop; in a tight image it shrinks and shifts a little before it leaves the image."""
    ideal = middle - np.array([0.0, _LIFT_PER_FACE * face])
    low, high = ideal - _SLACK_PER_FACE * face, ideal + _SLACK_PER_FACE * face
    extent = np.array(image, np.float64)
    # What a crop may measure around each place of its centre, without leaving the image.
    centre = np.clip(extent / 2, low, high)
    room = float(2 * np.minimum(centre, extent - centre).min())
    side = float(np.clip(room, _TIGHT_SIDE_PER_FACE * face, _SIDE_PER_FACE * face))
    inside_low, inside_high = np.minimum(side / 2, extent / 2), np.maximum(extent - side / 2, extent / 2)
    centre = np.clip(np.clip(ideal, inside_low, inside_high), low, high)
    return centre - side / 2, side


def _cut(rgb: NDArray[np.uint8], corner: NDArray[np.float64], side: float, size: int) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    left, top = np.floor(corner).astype(int)
    right, bottom = np.ceil(corner + side).astype(int)
    pads = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    # The extra pixel keeps at least one row and column of the image when the crop lies beside it.
    inner = rgb[min(max(top, 0), height - 1) : max(bottom, 1), min(max(left, 0), width - 1) : max(right, 1)]
    padded = cv2.copyMakeBorder(inner, *pads, cv2.BORDER_REPLICATE)
    offset = corner - np.array([left, top])
    box = (
        offset[0],
        offset[1],
        min(offset[0] + side, padded.shape[1]),
        min(offset[1] + side, padded.shape[0]),
    )
    resized = Image.fromarray(padded).resize((size, size), Image.Resampling.LANCZOS, box=box)
    pixels = np.asarray(resized, np.uint8)
    if not any(pads):
        return pixels.copy()
    return _blur_outside(pixels, -corner * size / side, (np.array([width, height]) - corner) * size / side)


def _blur_outside(pixels: NDArray[np.uint8], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Blur what lies outside the image, which covers ``low`` to ``high`` (x, y) of the crop, more with distance."""
    middles = np.arange(len(pixels)) + 0.5
    beyond_x = np.maximum(np.maximum(low[0] - middles, middles - high[0]), 0)
    beyond_y = np.maximum(np.maximum(low[1] - middles, middles - high[1]), 0)
    distance = np.hypot(beyond_x[None, :], beyond_y[:, None])
    unit = len(pixels) / CROP_SIZE
    share = (distance / (_FEATHER_PX * unit)).clip(0, 1)[..., None]
    blurred = cv2.GaussianBlur(pixels, (0, 0), len(pixels) / 24, borderType=cv2.BORDER_REPLICATE)
    # Further out the backdrop, or hair that the edge cuts would stand above the head like a chimney.
    far = ((distance / unit - _FEATHER_PX) / _FADE_PX).clip(0, 1)[..., None]
    far = far * far * (3 - 2 * far)
    outside = blurred * (1 - far) + _backdrop(pixels, low, high) * far
    return np.asarray(np.rint(pixels * (1 - share) + outside * share), np.uint8)


def _backdrop(pixels: NDArray[np.uint8], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is behind the head (S, S, 3), from the corners of the part of the crop that shows the image."""
    size = len(pixels)
    left, top = np.clip(np.rint(low), 0, size - 1).astype(int)
    right, bottom = np.maximum(np.clip(np.rint(high), 0, size).astype(int), [left + 1, top + 1])
    shown = pixels[top:bottom, left:right].astype(np.float64)
    height, width = (max(1, side // _CORNER) for side in shown.shape[:2])
    rim = np.median(np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]]), axis=0)
    corners = np.empty((2, 2, 3))
    for row, rows in enumerate((slice(height), slice(-height, None))):
        for column, columns in enumerate((slice(width), slice(-width, None))):
            colour = np.median(shown[rows, columns].reshape(-1, 3), axis=0)
            # Hair in the corner of a picture that is all face is not what is behind it.
            corners[row, column] = colour if colour.mean() > _DARK_CORNER * rim.mean() else rim
    share = ((np.arange(size) + 0.5) / size)[:, None]
    sides = corners[:, :1] * (1 - share) + corners[:, 1:] * share
    return np.asarray(sides[:1] * (1 - share[:, None]) + sides[1:] * share[:, None])
