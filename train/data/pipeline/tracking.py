"""One speaker's face through a clip: 478 landmarks a frame, or the reason why the clip is refused."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.portrait import FaceLandmarker
from engine.timebase import FRAME_RATE_HZ
from train.data.pipeline.shots import find_cuts, thumbnail
from train.data.readers.source_clip import Box, FaceBox

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]

_NEAR_BOX = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig:
    """When a clip is refused.

    Attributes:
        min_frames: shortest clip, at 25 a second.
        min_face_px: smallest face, larger side of its landmarks' box; a frame with a smaller one counts as without.
        min_face_share: faces in fewer of the frames.
        max_gap_frames: a longer run of frames without a face; shorter ones are filled in.
        rival_size, rival_share: another face of that share of the speaker's size in that share of the frames.
        max_jump: a step of the face between two frames, in face sizes.
    """

    min_frames: int = 25
    min_face_px: float = 48.0
    min_face_share: float = 0.95
    max_gap_frames: int = 5
    rival_size: float = 0.6
    rival_share: float = 0.2
    max_jump: float = 0.5


def track_face(
    frames: Iterable[ImageArray],
    landmarker: FaceLandmarker,
    config: TrackingConfig,
    window: Box | None = None,
    face_boxes: Sequence[FaceBox] = (),
) -> FloatArray:
    """Landmarks of the speaker in every frame; gaps are filled linearly.

    Args:
        frames: uint8 (H,W,3), 25 a second.
        window: the part of the image that is looked at.
        face_boxes: where the speaker is; without them it is the largest face.

    Returns:
        float32 (T,478,3), px of the video.

    Raises:
        InputError: too short, no face, several people, a cut, or the face jumps. The message says which and where.
    """
    found: list[FloatArray | None] = []
    thumbnails: list[ImageArray] = []
    rivals = gap = 0
    for index, rgb in enumerate(frames):
        left, top, right, bottom = _area(window, rgb.shape[1], rgb.shape[0])
        pixels = rgb[top:bottom, left:right]
        thumbnails.append(thumbnail(pixels))
        faces = [
            face + np.array([left, top, 0], np.float32)
            for face in landmarker.detect_all(pixels)
            if _size(face) >= config.min_face_px
        ]
        face = _speaker(faces, face_boxes, index / FRAME_RATE_HZ, rgb.shape)
        if face is not None and not face_boxes:
            rivals += _has_rival(face, faces, config)
        found.append(face)
        gap = 0 if face is not None else gap + 1
        if gap > config.max_gap_frames:
            raise InputError(f"no face for more than {config.max_gap_frames} frames in a row at {_at(index)}")
    if len(found) < config.min_frames:
        raise InputError(f"{len(found)} frames are too short; at least {config.min_frames} are needed")
    seen = np.array([face is not None for face in found])
    if seen.mean() < config.min_face_share:
        raise InputError(f"a face in only {100 * seen.mean():.0f} % of the frames")
    if rivals > config.rival_share * len(found):
        raise InputError(f"several people: another large face in {100 * rivals / len(found):.0f} % of the frames")
    if cuts := find_cuts(np.stack(thumbnails)):
        raise InputError(f"a cut at {', '.join(_at(cut) for cut in cuts[:5])}; give each shot as a clip of its own")
    empty = np.full((478, 3), np.nan, np.float32)
    landmarks = fill_gaps(np.stack([empty if face is None else face for face in found]))
    _check_jumps(landmarks, config)
    return landmarks


def fill_gaps(landmarks: FloatArray) -> FloatArray:
    """Landmarks (T,478,3) with frames of NaN put on straight lines between their neighbours."""
    seen = ~np.isnan(landmarks[:, 0, 0])
    if seen.all():
        return landmarks
    index = np.arange(len(landmarks))
    flat = landmarks.reshape(len(landmarks), -1)
    columns = [np.interp(index, index[seen], flat[seen, column]) for column in range(flat.shape[1])]
    return np.stack(columns, 1).reshape(landmarks.shape).astype(np.float32)


def _area(window: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
    if window is None:
        return 0, 0, width, height
    left, top, right, bottom = window.in_video(width, height)
    area = (
        max(0, math.floor(left)),
        max(0, math.floor(top)),
        min(width, math.ceil(right)),
        min(height, math.ceil(bottom)),
    )
    if area[2] - area[0] < 2 or area[3] - area[1] < 2:
        raise InputError(f"the annotated window lies outside the image of {width} x {height} px")
    return area


def _speaker(
    faces: Sequence[FloatArray], boxes: Sequence[FaceBox], time_s: float, shape: tuple[int, ...]
) -> FloatArray | None:
    if not faces:
        return None
    if not boxes:
        return faces[0]
    corners = np.array([box.box.in_video(shape[1], shape[0]) for box in boxes])
    times = [box.time_s for box in boxes]
    left, top, right, bottom = (np.interp(time_s, times, corners[:, side]) for side in range(4))
    place, size = np.array([left + right, top + bottom]) / 2, max(right - left, bottom - top)
    nearest = min(faces, key=lambda face: float(np.linalg.norm(_centre(face) - place)))
    return nearest if np.linalg.norm(_centre(nearest) - place) < _NEAR_BOX * size else None


def _has_rival(face: FloatArray, faces: Sequence[FloatArray], config: TrackingConfig) -> bool:
    size = _size(face)
    return any(
        _size(other) >= config.rival_size * size and np.linalg.norm(_centre(other) - _centre(face)) > 0.5 * size
        for other in faces
    )


def _check_jumps(landmarks: FloatArray, config: TrackingConfig) -> None:
    low, high = landmarks[..., :2].min(1), landmarks[..., :2].max(1)
    size = (high - low).max(1)
    step = np.linalg.norm(np.diff((low + high) / 2, axis=0), axis=1) / np.minimum(size[1:], size[:-1])
    growth = np.abs(np.diff(np.log(size)))
    jumps = np.flatnonzero((step > config.max_jump) | (growth > config.max_jump))
    if len(jumps):
        raise InputError(f"the face jumps at {_at(int(jumps[0]) + 1)}: a cut, or another person")


def _size(face: FloatArray) -> float:
    return float((face[:, :2].max(0) - face[:, :2].min(0)).max())


def _centre(face: FloatArray) -> FloatArray:
    return np.asarray((face[:, :2].max(0) + face[:, :2].min(0)) / 2, np.float32)


def _at(frame: int) -> str:
    return f"{frame / FRAME_RATE_HZ:.2f} s"
