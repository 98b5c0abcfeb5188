"""One clip of a data set before it is prepared: which part of which video shows whom, under which licence."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.data.readers.clips import CLIP_SUFFIXES
from train.data.storage.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a video whose resolution may not be the one it was drawn in.

    Attributes:
        left, top, width, height: px of a video that is ``video_height_px`` high; shares of its width and height
            where that is 0.
    """

    left: float
    top: float
    width: float
    height: float
    video_height_px: float = 0.0

    def in_video(self, video_width_px: int, video_height_px: int) -> NDArray[np.float64]:
        """Left, top, right, bottom in px of a video of that size."""
        scale = video_height_px / self.video_height_px if self.video_height_px else 1.0
        x, y = (scale, scale) if self.video_height_px else (float(video_width_px), float(video_height_px))
        return np.array([self.left * x, self.top * y, (self.left + self.width) * x, (self.top + self.height) * y])


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where the face is said to be at a time of the clip, seconds from its start."""

    time_s: float
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceClip:
    """One clip to prepare.

    Attributes:
        clip: name, unique in the data set and fit for a file.
        path: the video; start_s, end_s: the part of it, to its end if None.
        provenance: who is in it, and under which licence.
        window: part of the image to look in; the whole one if None.
        face_boxes: where the speaker's face is, in order of time; between them it is where a straight line puts it.
            Nothing if the largest face is the speaker's.
        offset_prior_frames: audio-video offset to start from, when the recording set-up is known to be in sync.
        resynced_by: sha256 of the Wav2Lip checkpoint that made the video's mouth; empty for a video as it was shot.
    """

    clip: str
    path: Path
    provenance: Provenance
    start_s: float = 0.0
    end_s: float | None = None
    window: Box | None = None
    face_boxes: tuple[FaceBox, ...] = ()
    offset_prior_frames: int | None = None
    resynced_by: str = ""


class Source(Protocol):
    """A data set on the user's disk."""

    def clips(self) -> Sequence[SourceClip]:
        """Every clip whose video is there, in a fixed order.

        Raises:
            InputError: the folder is not laid out as expected, and the message shows how it should be; or an
                annotation cannot be read, and the message names file and line.
        """


def clip_name(*parts: str) -> str:
    """A name for a file from parts such as person, video and number."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.-]+", "_", part).lstrip(".") or "_" for part in parts)


def side_of(person: str, held_out_share: float) -> str:
    """Side of the split for a person: the same on every machine and whatever other people there are."""
    number = int.from_bytes(hashlib.sha256(person.encode()).digest()[:6], "big") / 2**48
    return "held_out" if number < held_out_share else "train"


def videos_by_stem(folder: Path) -> dict[str, Path]:
    """Videos of a folder and those below it, by file name without suffix; the first in order of paths wins."""
    videos: dict[str, Path] = {}
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in CLIP_SUFFIXES and not path.name.startswith("."):
                videos.setdefault(path.stem, path)
    return videos
