"""Data that recipes of motion networks share: prepared clips or made-up ones, and the record of what was trained on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.pipeline.prepare import load_prepared
from train.data.readers.portraits import load_styles
from train.data.speech.synthetic import synthetic_clips
from train.data.storage.shards import ClipFeatures
from train.trainer import TrainingResult

PREPARED = Path("runs/prepared")
"""Where `prepare` puts its shards by default."""

SYNTHETIC = Path("synthetic")
"""Name, in place of a prepared folder, of made-up clips that need no data."""


def motion_clips(prepared: Path, model: LandmarkModel | None = None, also_hold_out: str = "") -> list[ClipFeatures]:
    """Clips of a prepared folder or of `SYNTHETIC`, those of the people in ``also_hold_out`` (a,b,c) held out too.

    Args:
        model: for made-up clips; None takes the bundled motion space.
    """
    if prepared == SYNTHETIC:
        clips = synthetic_clips(model or LandmarkModel.load(BUNDLED_MOTION_SPACE))
    else:
        clips = load_prepared(prepared)
    extra = {person for person in also_hold_out.split(",") if person}
    return [dataclasses.replace(c, split="held_out") if c.person in extra else c for c in clips]


def resting_expressions(prepared: Path) -> torch.Tensor:
    """Expressions (S,64) of a prepared folder's still portraits; zero for made-up clips."""
    return torch.zeros(1, 64) if prepared == SYNTHETIC else torch.from_numpy(load_styles(prepared))


def training_record(result: TrainingResult, clips: Sequence[ClipFeatures]) -> dict[str, Any]:
    """The record of a training in its exported weights: data, steps, seconds, held-out people and figures."""
    trained_on = [clip for clip in clips if clip.split == "train"]
    return {
        "steps": result.step,
        "seconds": round(result.seconds),
        "people": len({clip.person for clip in trained_on}),
        "minutes_of_film": round(sum(clip.frames for clip in trained_on) / 1500, 2),
        "held_out": sorted({clip.person for clip in clips if clip.split == "held_out"}),
        "figures": {key: round(value, 4) for key, value in result.figures.items()},
    }
