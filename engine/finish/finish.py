"""What every frame goes through before it leaves: the visible label, then the invisible mark over all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import CommandInvalid
from engine.finish.label import VisibleLabel
from engine.finish.spread_spectrum import PUBLIC_KEY
from engine.finish.watermark import Watermark

__all__ = ["Finish", "Marking"]


@dataclass(frozen=True, slots=True)
class Marking:
    """What the invisible mark says, and to whom.

    Attributes:
        tag: 24 bits of the operator's choice, for example which installation a film came from.
        key: who knows it can find the mark; with the public key anybody can.
    """

    tag: int = 0
    key: bytes = PUBLIC_KEY


class Finish:
    """Label and mark for frames of one size.

    Raises:
        CommandInvalid: the tag does not fit its 24 bits.
    """

    def __init__(self, height_px: int, width_px: int, marking: Marking) -> None:
        self._label = VisibleLabel(height_px, width_px)
        try:
            self._mark = Watermark(height_px, width_px, marking.tag, marking.key)
        except ValueError as error:
            raise CommandInvalid(str(error)) from error

    def apply(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The finished frame, uint8 of the same size; the input is not changed."""
        return self._mark.apply(self._label.apply(rgb))
