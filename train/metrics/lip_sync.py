"""LSE-C and LSE-D: how well lips and voice agree to a SyncNet (Chung & Zisserman 2016; Prajwal et al. 2020).

    frame t   | 5 images t .. t+4          -> lip embedding v_t
              | 20 mfcc columns from 4 t   -> voice embedding a_t        (200 ms each)

For each lag k the distances |v_t - a_(t+k)| are averaged over the video. LSE-D is the least of the averages, LSE-C
their median less their least.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.metrics.mfcc import MFCC_SIZE

SYNC_FRAMES = 5
SYNC_COLUMNS = 20
SYNC_REACH = 15
_COLUMNS_PER_FRAME = 4
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class LipSync:
    """confidence: LSE-C. distance: LSE-D. offset_frames: how many frames the voice is early (positive) or late."""

    confidence: float
    distance: float
    offset_frames: int


def window_count(frames: int, columns: int) -> int:
    """Windows that both the images and the mfcc columns of a video fill; below 1 there is nothing to compare."""
    return min(frames - SYNC_FRAMES, (columns - SYNC_COLUMNS) // _COLUMNS_PER_FRAME) + 1


def voice_windows(mfcc: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """The first ``count`` voice windows (count, 13, 20) of cepstra (13, columns)."""
    if mfcc.shape[0] != MFCC_SIZE or mfcc.shape[1] < _COLUMNS_PER_FRAME * (count - 1) + SYNC_COLUMNS:
        raise ValueError(f"cepstra {mfcc.shape} do not hold {count} windows")
    starts = _COLUMNS_PER_FRAME * np.arange(count)
    gathered = mfcc[:, starts[:, None] + np.arange(SYNC_COLUMNS)]
    return np.ascontiguousarray(gathered.transpose(1, 0, 2), dtype=np.float32)


def lip_sync(lips: NDArray[np.floating], voice: NDArray[np.floating], reach_frames: int = SYNC_REACH) -> LipSync:
    """Compare embeddings (T, D) of lips and voice over lags -reach .. reach.

    As in the published evaluation, the voice is padded with zero embeddings beyond its ends, so every lag averages
    over all T frames.

    Raises:
        ValueError: shapes differ, or there is no frame.
    """
    if lips.shape != voice.shape or lips.ndim != 2 or not len(lips):
        raise ValueError(f"embeddings must be two arrays (T, D) of one shape, not {lips.shape}, {voice.shape}")
    wide = lips.astype(np.float64)
    padded = np.pad(voice.astype(np.float64), ((reach_frames, reach_frames), (0, 0)))
    lags = 2 * reach_frames + 1
    means = np.array([np.linalg.norm(wide - padded[k : k + len(wide)] + _EPSILON, axis=1).mean() for k in range(lags)])
    best = int(means.argmin())
    return LipSync(
        confidence=float(np.median(means) - means[best]),
        distance=float(means[best]),
        offset_frames=reach_frames - best,
    )
