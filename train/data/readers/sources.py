"""Person, licence and side of the split of the open clips, known by the names of their files."""

import dataclasses
import re
from dataclasses import dataclass

from train.data.storage.provenance import Provenance

UNKNOWN_LICENCE = "unknown (supplied by the user)"

HELD_OUT_CLIPS = frozenset({"address-daines", "grid-bbaf2n", "grid-swwp2s", "grid-lwbsza", "silent-noem"})
"""Clips of people that no training sees. The split is by person: none of these people appears in another clip."""


@dataclass(frozen=True, slots=True)
class ClipSource:
    """What is known of a clip by its name.

    ``offset_prior_frames``: audio-video offset to start from, where the recording set-up is known to be in sync.
    """

    provenance: Provenance
    offset_prior_frames: int | None = None


_GRID = Provenance(
    person="",
    split="train",
    licence="CC-BY-4.0",
    credit="Cooke, Barker, Cunningham, Shao (2006), GRID audio-visual sentence corpus",
)
_ADDRESS = Provenance(
    person="",
    split="train",
    licence="public domain (work of the US government)",
    credit="Weekly addresses of United States office holders",
)
_UNKNOWN = Provenance(person="", split="train", licence=UNKNOWN_LICENCE, credit="supplied by the user")


def describe_clip(stem: str) -> ClipSource:
    """Source of a clip by its file name without suffix; names that match no known set are the user's own.

    ``grid-s26-...`` is speaker s26; a GRID clip without a speaker number is a speaker of its own. A trailing ``-a``
    or ``-1`` of an address numbers the clips of one person.
    """
    split = "held_out" if stem in HELD_OUT_CLIPS else "train"
    if match := re.fullmatch(r"grid-(?:(s\d+)-)?(\w+)", stem):
        return ClipSource(dataclasses.replace(_GRID, person=f"grid-{match[1] or match[2]}", split=split), 0)
    if match := re.fullmatch(r"(?:address|silent)-([a-z-]+?)(?:-[a-z0-9])?", stem):
        return ClipSource(dataclasses.replace(_ADDRESS, person=match[1], split=split))
    return ClipSource(dataclasses.replace(_UNKNOWN, person=stem, split=split))
