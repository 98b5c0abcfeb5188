"""Photographs of one person as a clip: real pairs for the animator of people whom no video shows.

Two photographs with different expressions teach what a smile does to a face; one alone, which is its own target, that a
face without motion stays as it is.
"""

from collections.abc import Sequence

import numpy as np

from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces.face_clips import MemoryClip
from train.data.faces.face_pack import StillPortrait


def photo_clips(portraits: Sequence[StillPortrait], model: LandmarkModel) -> list[MemoryClip]:
    """One clip of each person, in the order in which they come; frames are photographs.

    Of a person shown more than once, expressions count from that person's own neutral face.
    """
    of_person: dict[str, list[StillPortrait]] = {}
    for portrait in portraits:
        of_person.setdefault(portrait.person, []).append(portrait)
    return [_clip(photos, model) for photos in of_person.values()]


def _clip(photos: Sequence[StillPortrait], model: LandmarkModel) -> MemoryClip:
    landmarks_px = np.stack([photo.landmarks_px for photo in photos])
    if len(photos) == 1:
        descriptors = model.fit(landmarks_px[0]).descriptor[None]
    else:
        descriptors = model.fit_sequence(landmarks_px).descriptors
    first = photos[0]
    images = np.stack([photo.rgb for photo in photos])
    return MemoryClip(first.name, first.person, first.split, descriptors, landmarks_px, images)
