"""What is kept of each video: landmarks, motion, embeddings of frozen networks. Cached, so that a rerun is quick.

cache/NAME.KIND.KEY.safetensors      KEY: the files' names, sizes and dates, the framing, the network's folder
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engine.errors import InputError, OutputUnwritable
from engine.files import replacing
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import CROP_SIZE, FaceLandmarker
from train.evaluate.videos import Framing, VideoInfo, detect_landmarks, framing, moved, video_info
from train.images import to_network

_VERSION = "1"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of a video in the landmark motion space: expression (T, 64), pose (T, 6), gaze (T, 2)."""

    expression: NDArray[np.float32]
    pose: NDArray[np.float32]
    gaze: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Video:
    """A video whose face was found.

    Attributes:
        place: its face square; key: changes with the file and the square.
        landmarks_px: float32 (T, 478, 3) in the square of 256 px; NaN where no face was found.
    """

    info: VideoInfo
    place: Framing
    key: str
    landmarks_px: NDArray[np.float32]
    motion: Motion

    @property
    def frames(self) -> int:
        """Length at 25 frames a second."""
        return len(self.landmarks_px)


class FeatureCache:
    """Arrays by name, kind and key, one file each; a file that cannot be read is made again."""

    def __init__(self, folder: Path) -> None:
        """Raises OutputUnwritable where the folder cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputUnwritable(f"{folder} cannot be made: {error.strerror}; choose another --out") from error

    def get(self, name: str, kind: str, key: str, make: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """The arrays of this key, from the file, else made and written."""
        digest = hashlib.sha256(f"{_VERSION} {kind} {key}".encode()).hexdigest()[:16]
        path = self._folder / f"{name}.{kind}.{digest}.safetensors"
        if path.is_file():
            try:
                loaded: Arrays = load_file(path)
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)
            else:
                return loaded
        made = {field: np.ascontiguousarray(value) for field, value in make().items()}
        try:
            with replacing(path) as partial:
                save_file(made, partial)
        except (OSError, SafetensorError) as error:
            raise OutputUnwritable(f"{path} cannot be written: {error}; free some space or change --out") from error
        return made


def open_video(
    name: str,
    path: Path,
    cache: FeatureCache,
    landmarker: FaceLandmarker,
    model: LandmarkModel,
    *,
    like: Video | None = None,
    min_face_share: float = 0.8,
) -> Video:
    """Find the face of a video and fit its motion.

    Args:
        like: the video whose face square is taken where both are of one size.

    Raises:
        VideoUnreadable: not one frame can be decoded. InputError: a face in too few of the frames.
    """
    info = video_info(path)

    def detect() -> Arrays:
        landmarks_px, width, height = detect_landmarks(path, landmarker)
        return {"landmarks_px": landmarks_px, "size": np.array([width, height])}

    found = cache.get(name, "landmarks", info.identity, detect)
    in_video, (width, height) = found["landmarks_px"], (int(size) for size in found["size"])
    share = float(np.isfinite(in_video[:, 0, 0]).mean())
    if share < min_face_share:
        raise InputError(
            f"{path} shows a face in only {100 * share:.0f} % of its {len(in_video)} frames; is it damaged?"
        )
    if len(in_video) < 2:
        raise InputError(f"{path} holds a single frame")
    place = framing(in_video, width, height)
    if like is not None and (like.place.width_px, like.place.height_px) == (width, height):
        place = like.place
    landmarks_px = moved(in_video, place)
    corner = b"square" if place.landmarks_px is None else place.landmarks_px.tobytes()
    key = f"{info.identity} {hashlib.sha256(corner).hexdigest()[:16]}"

    def fit() -> Arrays:
        motion = model.fit_sequence(landmarks_px, crop_size=CROP_SIZE)
        return {"expression": motion.expression, "pose": motion.pose, "gaze": motion.gaze}

    return Video(info, place, key, landmarks_px, Motion(**cache.get(name, "motion", key, fit)))


def to_tensor(images: list[NDArray[np.uint8]]) -> torch.Tensor:
    """Images (256, 256, 3) uint8 as float32 (B, 3, 256, 256) in [-1, 1]."""
    return to_network(torch.from_numpy(np.stack(images)))


def batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items, the last one shorter."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
