"""What the engine asks of an animator."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.motion.space.coefficients import Coefficients
from engine.portrait import FaceCrop


class Animator(Protocol):
    """Portraits to images. What it keeps of a portrait is its own business, hence ``Any``.

    Attributes:
        past_frames, future_frames: descriptors that it sees before and after the shown one.
        fixed_size: the one size in pixels that it draws; None is any.
        batches: it renders rows in one pass, so that sessions gain from being rendered together.
        finishes: it can label and watermark the images as well.
    """

    past_frames: int
    future_frames: int
    fixed_size: int | None
    batches: bool
    finishes: bool

    def prepare(self, crop: FaceCrop, coefficients: Coefficients) -> Any:
        """What it keeps of a portrait, once for each portrait."""

    def render(
        self, prepared: Any, window_TD: npt.NDArray[np.floating], *, intensity: float = 1.0
    ) -> npt.NDArray[np.uint8]:
        """Image uint8 (S, S, 3) of one window (past + 1 + future, 72); arguments as `render_batch`, of one row."""

    def render_batch(
        self,
        prepared: Sequence[Any],
        window_BTD: npt.NDArray[np.floating],
        *,
        intensity: Sequence[float] | None = None,
        finished: Sequence[bool] | None = None,
    ) -> Sequence[npt.NDArray[np.uint8]]:
        """Images uint8 (S, S, 3), one for each row, each as large as its portrait.

        Args:
            prepared: from `prepare`, one for each row.
            window_BTD: (B, past + 1 + future, 72) motion descriptors around the shown frame.
            intensity: lambda of section 4.3, 0 (a still neutral face) to 1 (the whole motion); None is 1 for all.
            finished: rows to be labelled and watermarked, which only an animator that ``finishes`` does; None is none.

        Raises:
            ValueError: a shape, values that are not finite, or ``finished`` rows of an animator that does not finish.
            CommandInvalid: an intensity is out of range.
        """
