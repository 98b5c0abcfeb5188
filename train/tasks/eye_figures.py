"""Figures of eye features (T,21) that stage 2 reports: blinks, motion of the brows, drift."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from train.datasets.scales import EYE_FEATURE_STD
from train.metrics.blink import blink_statistics


def generated_eye_figures(name: str, samples_BTF: Tensor) -> dict[str, float]:
    """Figures ``name/...`` of samples (B,T,21) in plain units."""
    blink = blink_statistics([row[:, 0].numpy() for row in samples_BTF])
    first, *_, last = samples_BTF[:, 1:].tensor_split(4, dim=1)
    scaled = samples_BTF / EYE_FEATURE_STD
    return {
        f"{name}/blinks_per_minute": blink.per_minute,
        f"{name}/blink_depth": blink.depth,
        f"{name}/blink_frames": blink.frames,
        f"{name}/open_ratio": blink.open_ratio,
        f"{name}/brow_std": float(scaled[..., 1:].std(1).mean()),
        f"{name}/brow_speed": float(scaled[..., 1:].diff(dim=1).abs().mean()),
        f"{name}/drift": float(((last.mean(1) - first.mean(1)) / EYE_FEATURE_STD).abs().mean()),
    }


def real_eye_figures(features: Sequence[Tensor]) -> dict[str, float]:
    """Figures ``real/...`` of true features, each (T,21) in plain units."""
    blink = blink_statistics([row[:, 0].numpy() for row in features])
    brows = [(row / EYE_FEATURE_STD)[:, 1:] for row in features]
    return {
        "real/blinks_per_minute": blink.per_minute,
        "real/blink_depth": blink.depth,
        "real/blink_frames": blink.frames,
        "real/brow_std": float(np.mean([b.std(0).mean() for b in brows])),
        "real/brow_speed": float(np.mean([b.diff(dim=0).abs().mean() for b in brows])),
    }
