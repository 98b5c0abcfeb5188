"""What every frame goes through before it leaves: the visible label, then the invisible mark over all of it."""

from __future__ import annotations

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
    """What the invisible mark says, and to whom.

    Attributes:
        tag: 16 bits of the operator's choice, for example which installation a video came from.
        key: who knows it can find the mark; with the public key anybody can.
    """

    tag: int = 0
    key: bytes = PUBLIC_KEY


class Postprocess:
    """Label and mark for frames of one size, pasted back into the whole portrait first if that is asked for.

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
