"""Photographs of one person as a clip: real pairs for the animator of people whom no video shows.

Two photographs with different expressions teach what a smile does to a face; one alone, which is its own target, that a
face without motion stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces.still_clips import StillPortrait


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoClip:
    """A `FaceClip` whose frames are photographs; expressions count from the person's own neutral if there are two.

    descriptors: float32 (T,72).
    """

    portraits: tuple[StillPortrait, ...]
    descriptors: NDArray[np.float32]

    @property
    def clip(self) -> str:
        """Name of the first photograph."""
        return self.portraits[0].name

    @property
    def person(self) -> str:
        """Label of the person."""
        return self.portraits[0].person

    @property
    def split(self) -> str:
        """Side of the split."""
        return self.portraits[0].split

    @property
    def frames(self) -> int:
        """T."""
        return len(self.portraits)

    @property
    def landmarks_px(self) -> NDArray[np.float32]:
        """float32 (T,478,3), crop px."""
        return np.stack([portrait.landmarks_px for portrait in self.portraits])

    @property
    def pictured(self) -> NDArray[np.int64]:
        """int64 (T,): every frame."""
        return np.arange(self.frames)

    def rgb(self, frame: int) -> NDArray[np.uint8]:
        """Crop of a frame, uint8 (256,256,3). Raises IndexError."""
        if not 0 <= frame < self.frames:
            raise IndexError(f"clip {self.clip} has {self.frames} photographs, no number {frame}")
        return self.portraits[frame].rgb


def photo_clips(portraits: Sequence[StillPortrait], model: LandmarkModel) -> list[PhotoClip]:
    """One clip of each person, in the order in which they come."""
    of_person: dict[str, list[StillPortrait]] = {}
    for portrait in portraits:
        of_person.setdefault(portrait.person, []).append(portrait)
    return [
        PhotoClip(portraits=tuple(photos), descriptors=_descriptors(photos, model)) for photos in of_person.values()
    ]


def _descriptors(photos: Sequence[StillPortrait], model: LandmarkModel) -> NDArray[np.float32]:
    if len(photos) == 1:
        return model.fit(photos[0].landmarks_px).descriptor[None]
    found = model.fit_sequence(np.stack([photo.landmarks_px for photo in photos]))
    return found.descriptors
