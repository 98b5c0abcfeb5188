"""The animated head back in the image it was cut from.

whole portrait            +-------------+
(still)                   |  +-------+  |     inside the crop: the animator's image
                          |  |  head |  |     at its edge:     a soft seam to the still portrait
                          |  +-------+  |     outside:         the portrait
                          |   shoulders |
                          +-------------+
"""

import copy
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from engine.portrait.crop import FaceCrop

_MOST_HEAD_SCALE = 1.5
_LONGEST_SIDE_PX = 1280
_SEAM_SHARE = 0.14

Rgb = npt.NDArray[np.uint8]


class PasteBack:
    """Puts crops of one portrait back into it.

    The image is made small enough that the head is enlarged by at most a half, or a sharp portrait would hold a
    blurred face; its longest side is at most 1280 pixels; both sides are even, as video codecs want them.

    Args:
        image: uint8 (H, W, 3), the whole portrait.
        crop: the head that was cut from it.
    """

    def __init__(self, image: Rgb, crop: FaceCrop) -> None:
        size = crop.rgb.shape[0]
        height, width = image.shape[:2]
        head_px = size / float(crop.matrix[0, 0])
        scale = min(1.0, _MOST_HEAD_SCALE * size / head_px, _LONGEST_SIDE_PX / max(height, width))
        out_height, out_width = (max(2, round(scale * side) // 2 * 2) for side in (height, width))
        self._still = cv2.resize(image, (out_width, out_height), interpolation=cv2.INTER_AREA)
        to_crop = crop.matrix.astype(np.float64) / [[out_width / width, out_height / height, 1]]
        self._area, self._from_area = _covered(to_crop, size, (out_height, out_width))
        rows, columns = self._area
        self._length = (columns.stop - columns.start, rows.stop - rows.start)
        seam = _seam(to_crop, size, (out_height, out_width))
        self._head_share = cv2.warpAffine(
            seam, self._from_area, self._length, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        self._still_share = 1 - self._head_share

    def shrunk(self, factor: float) -> Self:
        """The same for heads of ``factor`` times as many pixels a side, in images of the same size."""
        shrunk = copy.copy(self)
        shrunk._from_area = self._from_area * factor
        shrunk._from_area[:, 2] += (factor - 1) / 2
        return shrunk

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self._still.shape[0], self._still.shape[1]

    def apply(self, head: Rgb) -> Rgb:
        """The whole portrait with ``head`` (uint8, the crop's size) in its place."""
        out: Rgb = self._still.copy()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(head, self._from_area, self._length, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        out[self._area] = cv2.blendLinear(moved, out[self._area], self._head_share, self._still_share)
        return out


def _covered(
    to_crop: npt.NDArray[np.float64], size: int, image: tuple[int, int]
) -> tuple[tuple[slice, slice], npt.NDArray[np.float64]]:
    """Rows and columns of the image that the crop covers, and the map from their pixels to the crop's."""
    scale, offset = to_crop[[0, 1], [0, 1]], to_crop[:, 2]
    low = np.maximum(np.floor(-offset / scale), 0).astype(int)
    high = np.minimum(np.ceil((size - offset) / scale), image[::-1]).astype(int)
    # Places count from the corner of an image, OpenCV's from the middle of its first pixel.
    shift = scale * (low + 0.5) + offset - 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))), matrix


def _seam(to_crop: npt.NDArray[np.float64], size: int, image: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Share of the head (size, size): 0 at the crop's edge, 1 a seam's width inside; no seam where the image ends."""
    scale, offset = to_crop[[0, 1], [0, 1]], to_crop[:, 2]
    image_low, image_high = offset, offset + scale * np.array(image[::-1])
    middles = np.arange(size) + 0.5
    shares = []
    for axis in (0, 1):
        before = middles if image_low[axis] < -0.5 else np.full(size, np.inf)
        after = size - middles if image_high[axis] > size + 0.5 else np.full(size, np.inf)
        shares.append(np.clip(np.minimum(before, after) / (_SEAM_SHARE * size), 0, 1))
    share = np.minimum(shares[0][None, :], shares[1][:, None])
    smooth: npt.NDArray[np.float32] = (share * share * (3 - 2 * share)).astype(np.float32)
    return smooth
