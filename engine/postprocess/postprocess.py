"""The last stage of a frame: into the whole portrait if asked for, the visible label, the invisible watermark."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import CommandInvalid
from engine.postprocess.label import VisibleLabel
from engine.postprocess.paste_back import PasteBack
from engine.postprocess.spread_spectrum import PUBLIC_KEY
from engine.postprocess.watermark import Watermark


@dataclass(frozen=True, slots=True)
class WatermarkConfig:
    """Content of the invisible watermark, and the key that finds it.

    Attributes:
        tag: 16 bits of the operator's choice, for example which installation a video came from.
        key: needed to find the watermark; the default is public, so that anybody can.
    """

    tag: int = 0
    key: bytes = PUBLIC_KEY


class Postprocess:
    """Labels and watermarks frames of one size, after pasting them back into the whole portrait if asked for.

    Raises:
        CommandInvalid: the tag does not fit its 16 bits.
    """

    def __init__(
        self, height_px: int, width_px: int, watermark: WatermarkConfig, paste_back: PasteBack | None = None
    ) -> None:
        if paste_back is not None:
            height_px, width_px = paste_back.size
        self.frame_size = (height_px, width_px)
        self._paste_back = paste_back
        self._label = VisibleLabel(height_px, width_px)
        try:
            self._mark = Watermark(height_px, width_px, watermark.tag, watermark.key)
        except ValueError as error:
            raise CommandInvalid(str(error)) from error

    def apply(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The finished frame, uint8 (*frame_size, 3), of the animator's image, which is not changed."""
        if self._paste_back is not None:
            rgb = self._paste_back.apply(rgb)
        return self._mark.apply(self._label.apply(rgb))
