"""Recipes that make data and the motion space, not networks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.data import prepare as preparation
from train.motion_space import MotionSpaceConfig, build_motion_space
from train.recipes.recipe import recipe

__all__ = ["MotionSpaceRecipe", "PrepareRecipe", "open_motion_space", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRecipe(preparation.PrepareConfig):
    """A folder of clips to shards."""

    def run(self) -> Mapping[str, Any]:
        """Prepare, and say what was refused and what was out of sync."""
        records = preparation.prepare(self)
        refused = {record.clip: record.refused for record in records if record.refused}
        late = {record.clip: record.offset_frames for record in records if record.has_sound}
        return {
            "clips": len(records),
            "refused": json.dumps(refused),
            "late sound, frames": json.dumps({clip: frames for clip, frames in late.items() if frames}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSpaceRecipe:
    """Fit of the landmark motion space to ``data`` (portraits, portraits-small, clips)."""

    data: Path
    cache: Path
    out: Path
    fit: MotionSpaceConfig = field(default_factory=MotionSpaceConfig)

    def run(self) -> Mapping[str, Any]:
        """Fit, and measure on held-out people."""
        report, held_out = build_motion_space(self.out, self.cache, self.data, self.fit)
        return dataclasses.asdict(report) | (dataclasses.asdict(held_out) if held_out else {})


@recipe
def prepare() -> PrepareRecipe:
    """Track, align and stretch a folder of clips: ``data=CLIPS portraits=PORTRAITS out=FOLDER``."""
    return PrepareRecipe(data=Path("data/clips"), out=Path("runs/prepared"))


@recipe
def open_motion_space() -> MotionSpaceRecipe:
    """The shipped motion space: ``data=FOLDER``; landmarks are kept in ``cache`` between runs."""
    return MotionSpaceRecipe(
        data=Path("data"),
        cache=Path("runs/landmarks"),
        out=Path("runs/motion_space.safetensors"),
    )
