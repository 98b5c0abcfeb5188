"""Which mel columns a video frame listens to: index arithmetic between 80 columns and 25 frames a second.

    column j is centred on 12.5 j ms and reaches 25 ms either side; frame t shows 40 t ms

    lips     16 columns, the last one final 80 ms after the frame's time (both numbers from the weights)
    prosody  4 columns from floor(3.2 (t - delay)), the frame's own 40 ms `delay` frames ago

Columns before 0 are silence. A frame is a number, or an int64 tensor of many.

Shape suffixes: N frames, F mel bands (80), M columns of the audio, W columns of a window.
"""

from typing import TypeVar

import torch
from torch import Tensor

from engine.audio import MEL_SILENCE
from engine.timebase import FRAME_RATE_HZ, MEL_COLUMNS_PER_SECOND

PROSODY_COLUMNS = 4
_COLUMN_REACH_MS = 25

Frames = TypeVar("Frames", int, Tensor)


def lip_window(frame: Frames, lookahead_ms: int = 80, columns: int = 16) -> tuple[Frames, Frames]:
    """First column and one past the last of a frame's lip window; negative ones are silence.

    The last is the newest column j that is final ``lookahead_ms`` after the frame:
    12.5 j + 25 <= 40 t + lookahead.
    """
    frame_ms = 1000 // FRAME_RATE_HZ
    last = (frame_ms * frame + lookahead_ms - _COLUMN_REACH_MS) * MEL_COLUMNS_PER_SECOND // 1000
    return last - columns + 1, last + 1


def prosody_columns(frame: Frames, delay_frames: int = 2) -> tuple[Frames, Frames]:
    """First and one past the last of the four columns that condition a frame's pose."""
    first = (frame - delay_frames) * MEL_COLUMNS_PER_SECOND // FRAME_RATE_HZ
    return first, first + PROSODY_COLUMNS


def mel_windows(mel_FM: Tensor, first_N: Tensor, columns: int) -> Tensor:
    """Windows of a whole mel spectrogram as a stream would have heard them, (N, F, columns).

    Args:
        mel_FM: float32 (80, M) in [-4, 4]; outside of 0 .. M - 1 there is silence.
        first_N: int64, first column of each window.
    """
    index_NW = first_N[:, None] + torch.arange(columns)
    total = mel_FM.shape[1]
    heard_NW = (index_NW >= 0) & (index_NW < total)
    window_FNW = mel_FM[:, index_NW.clamp(0, max(total - 1, 0))]
    return torch.where(heard_NW, window_FNW, MEL_SILENCE).transpose(0, 1).contiguous()
