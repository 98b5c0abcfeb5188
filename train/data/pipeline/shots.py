"""Cuts between shots, found on thumbnails of the frames.

change |.....:..#......      a cut is a frame that differs from the one before far more than its neighbours do,
             ^  cut          and a flash one after which the image is back where it was
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_SIZE = (48, 27)
_LEAST_CHANGE = 14.0
_TIMES_USUAL = 4.0
_NEIGHBOURS = 12
_BACK_SHARE = 0.5


def thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H,W,3) small enough to keep and to compare: uint8 (27,48,3)."""
    return np.asarray(cv2.resize(rgb, _SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def find_cuts(thumbnails: NDArray[np.uint8]) -> list[int]:
    """Frames that begin a new shot, of thumbnails (T,27,48,3).

    A cut changes the mean pixel by 14 of 255 or more and by four times the largest of the usual changes around it;
    a flash, after which the old image comes back within two frames, is none.
    """
    frames = thumbnails.astype(np.float32)
    change = np.zeros(len(frames))
    change[1:] = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    cuts = []
    for t in np.flatnonzero(change >= _LEAST_CHANGE).tolist():
        around = np.concatenate([change[max(1, t - _NEIGHBOURS) : t], change[t + 1 : t + 1 + _NEIGHBOURS]])
        usual = float(np.quantile(around, 0.8)) if len(around) else 0.0
        if change[t] >= _TIMES_USUAL * usual and not _comes_back(frames, t, change[t]):
            cuts.append(t)
    return cuts


def _comes_back(frames: NDArray[np.float32], t: int, change: float) -> bool:
    later, before = frames[t + 1 : t + 3], frames[max(0, t - 3) : t - 1]
    if not len(later):
        return False
    # Either flank of a flash: the image after it, or before it, is the one on the other side.
    ahead = min(float(np.abs(frame - frames[t - 1]).mean()) for frame in later)
    behind = min((float(np.abs(frame - frames[t]).mean()) for frame in before), default=np.inf)
    return min(ahead, behind) < _BACK_SHARE * change
