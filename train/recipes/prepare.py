"""Recipes that make data and the motion space, not networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from train.data.prepare import PrepareConfig
from train.motion_space import MotionSpaceConfig

__all__ = ["MotionSpaceRecipe", "open_motion_space", "prepare_clips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSpaceRecipe:
    """Fit of the landmark motion space to ``data`` (portraits, portraits-small, clips)."""

    data: Path
    cache: Path
    out: Path
    fit: MotionSpaceConfig = field(default_factory=MotionSpaceConfig)


def prepare_clips() -> PrepareConfig:
    """Track, align and stretch a folder of clips: ``data=CLIPS portraits=PORTRAITS out=FOLDER``."""
    return PrepareConfig(data=Path("data/clips"), out=Path("runs/prepared"))


def open_motion_space() -> MotionSpaceRecipe:
    """The shipped motion space: ``data=FOLDER``; landmarks are kept in ``cache`` between runs."""
    return MotionSpaceRecipe(
        data=Path("data"),
        cache=Path("runs/landmarks"),
        out=Path("runs/motion_space.safetensors"),
    )
