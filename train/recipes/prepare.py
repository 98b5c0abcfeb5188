"""Recipes that make data and the motion space, not networks."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.timebase import FRAME_RATE_HZ
from train.data.pipeline import prepare as preparation
from train.data.pipeline.resync import ResyncConfig, resync
from train.motion_space import MotionSpaceConfig, build_motion_space
from train.recipes.recipe import recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRecipe(preparation.PrepareConfig):
    """A data set of videos to shards."""

    def run(self) -> Mapping[str, Any]:
        """Prepare, and say what was refused, what was out of sync and what was resampled."""
        records = preparation.prepare(self)
        accepted = [record for record in records if not record.refused]
        late = {record.clip: record.offset_frames for record in accepted if record.has_audio}
        rates = Counter("variable" if r.variable else f"{r.rate_hz:g} fps" for r in accepted)
        people = {
            side: len({r.provenance.person for r in accepted if r.provenance.split == side})
            for side in ("train", "held_out")
        }
        return {
            "clips": len(records),
            "minutes": round(sum(record.frames for record in accepted) / (60 * FRAME_RATE_HZ), 2),
            "people": json.dumps(people),
            "refused": json.dumps({record.clip: record.refused for record in records if record.refused}),
            "late audio, frames": json.dumps({clip: frames for clip, frames in late.items() if frames}),
            "frame rates": json.dumps(dict(sorted(rates.items()))),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncRecipe(ResyncConfig):
    """Prepared videos to resynchronised ones."""

    def run(self) -> Mapping[str, Any]:
        """Resynchronise, and say what could not be."""
        records = resync(self)
        return {
            "films": sum(not record.refused for record in records),
            "refused": json.dumps({record.clip: record.refused for record in records if record.refused}),
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
    """Track, align and augment a folder of clips: ``data=CLIPS portraits=PORTRAITS out=FOLDER``.

    ``images=true`` also writes the head crops that the animator learns from; ``space=bfm weights=RELEASE`` measures
    the motion space of the released weights with the user's imported estimators.
    """
    return PrepareRecipe(data=Path("data/clips"), out=Path("runs/prepared"))


@recipe
def prepare_voxceleb() -> PrepareRecipe:
    """VoxCeleb, the paper's set for the animator: ``data=FOLDER`` with txt/ and videos/ (App. C).

    Its people are split as published.
    """
    return PrepareRecipe(
        data=Path("data/voxceleb"), out=Path("runs/voxceleb"), source="voxceleb", images=True, variants=0
    )


@recipe
def prepare_hdtf() -> PrepareRecipe:
    """HDTF, the paper's set for poses, gazes and expressions: ``data=FOLDER`` with HDTF_dataset/ and videos/ (App. C).

    One person in twenty is held out.
    """
    return PrepareRecipe(
        data=Path("data/hdtf"),
        out=Path("runs/hdtf"),
        source="hdtf",
        need_audio=True,
        held_out_share=0.05,
        variants=0,
    )


@recipe
def prepare_resync() -> ResyncRecipe:
    """Videos resynchronised by your copy of Wav2Lip (App. C): ``checkout=FOLDER checkpoint=FILE``; then `prepare` them.

    Takes HDTF as `prepare_hdtf` left it. Afterwards: ``prepare data=runs/hdtf_films out=runs/hdtf_resynced``.
    """
    return ResyncRecipe(
        data=Path("data/hdtf"),
        prepared=Path("runs/hdtf"),
        checkout=Path("experts/Wav2Lip"),
        checkpoint=Path("experts/wav2lip.pth"),
        out=Path("runs/hdtf_films"),
    )


@recipe
def open_motion_space() -> MotionSpaceRecipe:
    """The shipped motion space: ``data=FOLDER``; landmarks are kept in ``cache`` between runs."""
    return MotionSpaceRecipe(
        data=Path("data"),
        cache=Path("runs/landmarks"),
        out=Path("runs/motion_space.safetensors"),
    )
