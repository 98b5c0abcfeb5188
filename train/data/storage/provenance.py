"""Who is in a clip, on which side of the split that person is, and under which licence the clip may be used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a clip comes from.

    Attributes:
        person: label of the speaker; clips with one label never sit on both sides of the split.
        split: "train" or "held_out".
        licence: SPDX name or a sentence; credit: whom a model card must name.
    """

    person: str
    split: str
    licence: str
    credit: str
