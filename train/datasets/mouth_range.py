"""Evens the range of mouth openings over clips: how wide a person articulates is a habit that the voice does not tell.

Each clip's inner-lip opening gets the same mean and standard deviation by the least change of its expressions, so that
a network with little video spends nothing on learning whose mouth it is.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from train.data.storage.shards import ClipFeatures
from train.datasets.regions import mouth_closing_operator, mouth_opening_direction
from train.expression_model import ExpressionModel
from train.metrics.mouth import mouth_opening


def even_mouths(clips: Sequence[ClipFeatures], model: ExpressionModel, amount: float) -> list[ClipFeatures]:
    """Training clips with audio moved towards the median mean and deviation of all of them; others as they are.

    With o the opening, C the operator of the closing lips and u the direction that opens them,
    e' = e + (g - 1) e C + s u, so that o' = g o + c. ``amount`` 0 changes nothing, 1 makes all alike.
    """
    chosen = [clip.split == "train" and bool(clip.variants) for clip in clips]
    if amount == 0 or not any(chosen):
        return list(clips)
    openings = [mouth_opening(model, torch.from_numpy(clip.expression)).numpy() for clip in clips]
    means = [float(opening.mean()) for opening in openings]
    spreads = [max(float(opening.std()), 1e-4) for opening in openings]
    mean = float(np.median([m for m, use in zip(means, chosen, strict=True) if use]))
    spread = float(np.median([s for s, use in zip(spreads, chosen, strict=True) if use]))
    close = mouth_closing_operator(model).numpy()
    widen = mouth_opening_direction(model).numpy()
    at_rest = float(mouth_opening(model, torch.zeros(64)))
    evened = []
    for clip, use, own_mean, own_spread in zip(clips, chosen, means, spreads, strict=True):
        if not use:
            evened.append(clip)
            continue
        gain = (spread / own_spread) ** amount
        shift = own_mean + amount * (mean - own_mean) - gain * own_mean
        change = (gain - 1) * (clip.expression @ close) + (shift + (gain - 1) * at_rest) * widen
        evened.append(dataclasses.replace(clip, expression=(clip.expression + change).astype(np.float32)))
    return evened
