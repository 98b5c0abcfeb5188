"""Synthetic clips with a known rule: the louder, the wider open. For tests and the toy recipes."""

import numpy as np
import torch

from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import INNER_LIP_PAIRS_68
from train.data.storage.shards import ClipFeatures, MelVariant


def synthetic_clips(model: LandmarkModel, people: int = 3, frames: int = 160, seed: int = 0) -> list[ClipFeatures]:
    """Clips whose mouth follows loudness, with blinks every two seconds and slow sway; the last person is held out."""
    rng = np.random.default_rng(seed)
    open_mouth = _direction(model)
    clips = []
    for person in range(people):
        time_s = np.arange(frames) / 25
        loudness = 0.5 + 0.5 * np.sin(2 * np.pi * (2 + 0.3 * person) * time_s + person)
        columns = np.arange(int(frames * 3.2))
        level = np.interp(columns / 3.2, np.arange(frames), loudness)
        mel = np.clip(-3.5 + 4 * level + 0.3 * rng.standard_normal((80, len(columns))), -4, 4).astype(np.float32)
        expression = (loudness[:, None] * open_mouth + 0.05 * rng.standard_normal((frames, 64))).astype(np.float32)
        sway = 0.1 * np.sin(2 * np.pi * (0.2 + 0.1 * np.arange(6)) * time_s[:, None] + person)
        wander = 0.15 * np.sin(2 * np.pi * (0.3 + 0.2 * np.arange(2)) * time_s[:, None] + 2 * person)
        with torch.no_grad():
            eye_feature = model.eye_feature(torch.from_numpy(expression)).numpy()
        clips.append(
            ClipFeatures(
                clip=f"synthetic-{person}",
                person=f"person-{person}",
                split="held_out" if person == people - 1 else "train",
                expression=expression,
                pose=sway.astype(np.float32),
                gaze=wander.astype(np.float32),
                eye_feature=eye_feature,
                heard=np.ones(frames, bool),
                variants=(MelVariant(mel, 1.0),),
            )
        )
    return clips


def _direction(model: LandmarkModel) -> np.ndarray:
    """Expression that opens the inner lips by a tenth of a face unit, by the least change."""
    basis = model.expression_basis_68
    gap = torch.stack([basis[:, low, 1] - basis[:, up, 1] for up, low in INNER_LIP_PAIRS_68]).mean(0)
    return (0.1 * gap / gap.square().sum()).numpy()
