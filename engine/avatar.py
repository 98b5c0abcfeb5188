"""A portrait made ready: everything that depends on the image alone, computed once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.motion.space.coefficients import Coefficients
from engine.motion.space.mouth_rest import MouthRest
from engine.portrait import FaceCrop
from engine.postprocess import PasteBack


@dataclass(frozen=True, slots=True)
class Avatar:
    """One enrolled portrait, shared by any number of sessions and never changed.

    Attributes:
        crop: the square head crop and its landmarks.
        coefficients: e_0, p_0, gaze and identity of the image in the motion space.
        rest: how this mouth rests.
        eye_feature: (21,) float32, blink ratio and brow displacements of the image.
        prepared: what the animator keeps of the portrait.
        paste_back: puts animated heads back into the whole portrait.
        warnings: sentences for the user on what may look wrong, and what to do about it.
    """

    crop: FaceCrop
    coefficients: Coefficients
    rest: MouthRest
    eye_feature: npt.NDArray[np.float32]
    prepared: Any
    paste_back: PasteBack
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Side of the head's frames in pixels."""
        return int(self.crop.rgb.shape[0])
