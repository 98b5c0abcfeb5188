"""A frame of any size on the camera's image: as large as it fits, in the middle, on a plain ground, and marked."""

import cv2
import numpy as np
import numpy.typing as npt

from engine.errors import CommandInvalid
from engine.postprocess import SMALLEST_SIDE_PX, Watermark, WatermarkConfig

Rgb = npt.NDArray[np.uint8]

_MOST_PX = 3840


class Compositor:
    """Camera images of one size.

    The invisible mark of the frame is laid over its own width and height and would not be found in a corner of a larger
    image, so the whole image is marked once more.

    Raises:
        CommandInvalid: the watermark's tag does not fit.
    """

    def __init__(
        self,
        width_px: int,
        height_px: int,
        watermark: WatermarkConfig,
        ground: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        self._size = (width_px, height_px)
        self._empty = np.full((height_px, width_px, 3), ground, np.uint8)
        try:
            self._mark = Watermark(height_px, width_px, watermark.tag, watermark.key)
        except ValueError as error:
            raise CommandInvalid(str(error)) from error

    def empty(self) -> Rgb:
        """The ground alone, uint8 (height, width, 3)."""
        return self._empty.copy()

    def compose(self, rgb: Rgb) -> Rgb:
        """``rgb``, uint8 (h, w, 3), fitted without changing its proportions: uint8 (height, width, 3)."""
        image = self.empty()
        width, height = self._size
        scale = min(width / rgb.shape[1], height / rgb.shape[0])
        fitted = (
            max(1, min(width, round(scale * rgb.shape[1]))),
            max(1, min(height, round(scale * rgb.shape[0]))),
        )
        left, top = (width - fitted[0]) // 2, (height - fitted[1]) // 2
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image[top : top + fitted[1], left : left + fitted[0]] = cv2.resize(rgb, fitted, interpolation=method)
        return self._mark.apply(image)


def parse_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` in pixels, both even (cameras send half-size colour).

    Raises:
        CommandInvalid: it is not.
    """
    parts = text.lower().split("x")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
        width, height = int(parts[0]), int(parts[1])
        if all(SMALLEST_SIDE_PX <= side <= _MOST_PX and side % 2 == 0 for side in (width, height)):
            return width, height
    raise CommandInvalid(
        f"the size must be WIDTHxHEIGHT, even numbers from {SMALLEST_SIDE_PX} to {_MOST_PX}, like 1280x720; "
        f"not {text!r}"
    )


def parse_colour(text: str) -> tuple[int, int, int]:
    """``RRGGBB`` as hexadecimal, with or without '#'.

    Raises:
        CommandInvalid: it is not.
    """
    digits = text.removeprefix("#")
    if len(digits) != 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise CommandInvalid(f"the colour must be RRGGBB in hexadecimal, like 202428; not {text!r}")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
