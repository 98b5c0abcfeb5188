"""Mel windows of frames, exactly as the engine cuts them from a stream."""

from __future__ import annotations

import torch
from torch import Tensor

SILENCE = -4.0
"""Value of every mel cell of digital silence."""

_PROSODY_COLUMNS = 4


def lip_windows(mel_FM: Tensor, frames: Tensor, lookahead_ms: int = 80, columns: int = 16) -> Tensor:
    """Lip windows of the given frames.

    The last column j of frame t's window is the last with 12.5 j + 25 <= 40 t + lookahead_ms; columns outside the
    file are silence.

    Args:
        mel_FM: float32 (80, M). frames: int64 (N,).

    Returns:
        float32 (N, 80, columns).
    """
    last = torch.floor((40.0 * frames + lookahead_ms - 25.0) / 12.5 + 1e-6).long()
    return _gather(mel_FM, last[:, None] + torch.arange(1 - columns, 1))


def prosody_windows(mel_FM: Tensor, frames: Tensor, delay_frames: int = 2) -> Tensor:
    """Prosody conditions (N, 320): the 4 columns from floor(3.2 (t - delay)), each column's 80 numbers in turn."""
    first = torch.floor(3.2 * (frames - delay_frames) + 1e-6).long()
    window_NFW = _gather(mel_FM, first[:, None] + torch.arange(_PROSODY_COLUMNS))
    return window_NFW.transpose(1, 2).flatten(1)


def _gather(mel_FM: Tensor, index_NW: Tensor) -> Tensor:
    columns = mel_FM.shape[1]
    inside = (index_NW >= 0) & (index_NW < columns)
    window_FNW = mel_FM[:, index_NW.clamp(0, max(columns - 1, 0))]
    return torch.where(inside, window_FNW, torch.full_like(window_FNW, SILENCE)).transpose(0, 1).contiguous()
