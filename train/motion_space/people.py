"""Landmarks by person: the stills and clips of each, and the people that are held out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.data.readers.portraits import portrait_held_out
from train.data.readers.sources import HELD_OUT_CLIPS
from train.data.readers.sources import describe_clip as clip_source

_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Still:
    """One image. kind: "neutral", "smile" or "any"; landmarks (478, 3) px; group names its data set."""

    name: str
    person: str
    group: str
    kind: str
    landmarks: _Array


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip at 25 frames a second; landmarks (T, 478, 3) px, finite."""

    name: str
    person: str
    group: str
    landmarks: _Array


@dataclass(frozen=True, slots=True)
class FaceData:
    """Everything that the fit or the measurement sees."""

    stills: list[Still]
    clips: list[Clip]


def describe_still(folder: str, stem: str, landmarks: _Array) -> Still:
    """An image of ``folder`` ("portraits" or "portraits-small") by the name of its file."""
    if folder == "portraits-small":
        return Still(stem, stem, "small", "any", landmarks)
    group, person = stem.split("-")[:2]
    kind = "smile" if stem.endswith("-smile") else "neutral"
    if group in ("lisa", "zoom"):
        person = group
    return Still(stem, f"{group}-{person}", group, kind, landmarks)


def describe_clip(stem: str, landmarks: _Array) -> Clip:
    """A clip by the name of its file; GRID, address and silent clips are groups of their own."""
    source = clip_source(stem)
    group = stem.split("-")[0] if stem.split("-")[0] in ("grid", "address", "silent") else "other"
    return Clip(stem, source.provenance.person, group, landmarks)


def split_held_out(data: FaceData) -> tuple[FaceData, FaceData]:
    """(training, held out), split by person."""

    def still_out(still: Still) -> bool:
        return still.name.startswith("B") if still.group == "small" else portrait_held_out(still.name)

    def clip_out(clip: Clip) -> bool:
        return clip.name in HELD_OUT_CLIPS

    training = FaceData([s for s in data.stills if not still_out(s)], [c for c in data.clips if not clip_out(c)])
    held_out = FaceData([s for s in data.stills if still_out(s)], [c for c in data.clips if clip_out(c)])
    return training, held_out
