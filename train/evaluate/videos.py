"""A video as the metrics see it: 25 frames a second, a square of 256 px around the face, landmarks in it.

A square video is taken for a face crop and only resized. Any other is cropped by the box of the portrait that its first
face would make, the same box for all frames: what ``gohd render`` makes of a video's first frame then lies pixel on
pixel on the video.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import FaceTooSmall, NoFaceFound
from engine.media import read_video
from engine.portrait import CROP_SIZE, FaceLandmarker, crop_face
from train.data.readers.clips import video_facts

Image = NDArray[np.uint8]
Landmarks = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts of a video's header. ``identity`` changes when the file does."""

    path: Path
    frame_rate_hz: float
    has_audio: bool
    identity: str


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the face square is: ``landmarks_px`` (478, 3) of the face that places it, None for a square video."""

    width_px: int
    height_px: int
    landmarks_px: Landmarks | None


def video_info(path: Path) -> VideoInfo:
    """Read a video's header.

    Raises:
        VideoUnreadable: missing, empty, damaged, or no video.
    """
    facts = video_facts(path)
    state = path.stat()
    return VideoInfo(
        path=path,
        frame_rate_hz=facts.rate_hz,
        has_audio=facts.has_audio,
        identity=f"{path.name} {state.st_size} {state.st_mtime_ns}",
    )


def detect_landmarks(path: Path, landmarker: FaceLandmarker) -> tuple[Landmarks, int, int]:
    """Landmarks (T, 478, 3) in pixels of the video, NaN where no face was found; its width and height.

    Raises:
        VideoUnreadable: not one frame can be decoded.
    """
    found: list[Landmarks] = []
    previous: Image | None = None
    for rgb in read_video(path):
        if rgb is previous:
            found.append(found[-1])
            continue
        previous = rgb
        try:
            found.append(landmarker.detect(rgb))
        except (NoFaceFound, FaceTooSmall):
            found.append(np.full((478, 3), np.nan, np.float32))
    assert previous is not None
    height, width = previous.shape[:2]
    return np.stack(found).astype(np.float32), width, height


def framing(landmarks_px: Landmarks, width_px: int, height_px: int) -> Framing:
    """The face square of a video with landmarks (T, 478, 3), at least one frame of which has a face."""
    if width_px == height_px:
        return Framing(width_px, height_px, None)
    first = int(np.flatnonzero(np.isfinite(landmarks_px[:, 0, 0]))[0])
    return Framing(width_px, height_px, landmarks_px[first])


def framed(path: Path, place: Framing) -> Iterator[Image]:
    """The video's frames at 25 Hz as uint8 (256, 256, 3)."""
    for rgb in read_video(path):
        if place.landmarks_px is not None:
            yield crop_face(rgb, place.landmarks_px).rgb
        elif len(rgb) == CROP_SIZE:
            yield rgb
        else:
            shrinks = len(rgb) > CROP_SIZE
            method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            yield np.asarray(cv2.resize(rgb, (CROP_SIZE, CROP_SIZE), interpolation=method), np.uint8)


def moved(landmarks_px: Landmarks, place: Framing) -> Landmarks:
    """Landmarks (T, 478, 3) of the video in pixels of its face square."""
    if place.landmarks_px is None:
        return landmarks_px * np.float32(CROP_SIZE / place.width_px)
    blank = np.zeros((place.height_px, place.width_px, 3), np.uint8)
    matrix = crop_face(blank, place.landmarks_px).matrix
    inside: Landmarks = landmarks_px * matrix[0, 0]
    inside[..., :2] += matrix[:, 2]
    return inside
