"""Which mel columns a video frame listens to: index arithmetic between 80 columns and 25 frames a second.

    column j is centred on 12.5 j ms and reaches 25 ms either side; frame t shows 40 t ms

    lips     16 columns, the last one final 80 ms after the frame's time (both numbers from the weights)
    prosody  4 columns from floor(3.2 (t - delay)), the frame's own 40 ms `delay` frames ago

Columns before 0 are silence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.timebase import FRAME_RATE_HZ, MEL_COLUMNS_PER_SECOND

PROSODY_COLUMNS = 4
_COLUMN_REACH_MS = 25
_RELEASED_LIP_COLUMNS = 16
_RELEASED_LIP_LEAD_FRAMES = 2

Float32 = npt.NDArray[np.float32]


def lip_window(frame: int, lookahead_ms: int = 80, columns: int = 16) -> tuple[int, int]:
    """First column and one past the last of frame ``frame``'s lip window; negative ones are silence.

    The last is the newest column j that is final ``lookahead_ms`` after the frame:
    12.5 j + 25 <= 40 t + lookahead.
    """
    frame_ms = 1000 // FRAME_RATE_HZ
    last = (frame_ms * frame + lookahead_ms - _COLUMN_REACH_MS) * MEL_COLUMNS_PER_SECOND // 1000
    return last - columns + 1, last + 1


def prosody_columns(frame: int, delay_frames: int = 2) -> tuple[int, int]:
    """First and one past the last of the four columns that condition frame ``frame``'s pose."""
    first = (frame - delay_frames) * MEL_COLUMNS_PER_SECOND // FRAME_RATE_HZ
    return first, first + PROSODY_COLUMNS


def released_lip_window(frame: int, total_columns: int) -> npt.NDArray[np.int64]:
    """The release's window: 16 columns from int(80 (t - 2) / 25), clamped to the file. Needs 133 ms past the
    frame."""
    first = int(MEL_COLUMNS_PER_SECOND * (frame - _RELEASED_LIP_LEAD_FRAMES) / FRAME_RATE_HZ)
    return np.arange(first, first + _RELEASED_LIP_COLUMNS).clip(0, total_columns - 1)


def released_prosody_columns(frame: int) -> tuple[int, int]:
    """The release's condition: columns 4t .. 4t+3, which run ahead of the image by a quarter."""
    return PROSODY_COLUMNS * frame, PROSODY_COLUMNS * (frame + 1)


def gather_columns(mel_FW: Float32, start: int, stop: int, silence: float = -4.0) -> Float32:
    """Cut columns start .. stop - 1 out of a whole mel spectrogram, as a stream would have heard them.

    Args:
        mel_FW: float32 (80, total) in [-4, 4].
        start, stop: may lie outside 0 .. total; there is ``silence``, the value of digital silence.

    Returns:
        float32 (80, stop - start).
    """
    total = mel_FW.shape[1]
    picked = np.full((mel_FW.shape[0], stop - start), silence, dtype=np.float32)
    low, high = min(max(start, 0), total), min(max(stop, 0), total)
    if high > low:
        picked[:, low - start : high - start] = mel_FW[:, low:high]
    return picked


def prosody_condition(columns_FW: Float32) -> Float32:
    """Four columns (80, 4) as the condition vector (320,): each column's 80 numbers in turn."""
    return np.ascontiguousarray(columns_FW.T).reshape(-1)
