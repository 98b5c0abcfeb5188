"""Change of sample rate, of whole waves."""

import numpy as np
from numpy.typing import NDArray

from engine.errors import MissingDependency


def resample(wave: NDArray[np.float32], from_hz: float, to_hz: float) -> NDArray[np.float32]:
    """A wave float32 (n,) at another rate, low-passed where that is lower.

    Raises:
        MissingDependency: soxr is not installed.
    """
    try:
        import soxr
    except ImportError as error:
        raise MissingDependency("training data needs soxr: pip install 'gohd-live[train]'") from error
    return np.asarray(soxr.resample(wave, from_hz, to_hz), np.float32)
