"""Clips with images: what the animator learns from.

    faces/CLIP.safetensors   jpeg           uint8 (bytes,)      256 x 256 crops, one after another
                             jpeg_start     int64 (P+1,)        where each begins
                             pictured       int64 (P,)          the frames that have one; absent where all do
                             landmarks      float16 (T,478,3)   crop px, x and y less 128 (to 1/32 px)
                             descriptors    float32 (T,72)      [e 64 | p 6 | g 2] in that crop

The crop is the one that `engine.portrait.crop_face` makes at enrolment, around the clip's median face and the same in
every frame, so a trained animator meets at run time the framing it was trained on.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine.errors import InputError
from train.data.faces.jpeg import decode_jpeg, packed
from train.data.storage.files import save_tensors
from train.data.storage.manifest import read_manifest

FACE_SIZE: Final = 256

_CENTRE_PX = np.array([FACE_SIZE / 2, FACE_SIZE / 2, 0], np.float32)
_CACHED_CLIPS = 64

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]
IntArray = NDArray[np.int64]


class FaceClip(Protocol):
    """A sequence of head crops and the motion in them, at 25 frames a second.

    Attributes:
        clip: name, unique in its folder; person: label, never on both sides of the split.
        split: "train" or "held_out".
        frames: T.
        descriptors: float32 (T,72), expression 64, pose 6, gaze 2 in the crop (`engine.motion.space.coefficients`).
        landmarks_px: float32 (T,478,3), crop px; the middle of the first pixel is at 0.5.
        image_frames: int64 (P,), the frames that have an image, in order: all, or some where videos were thinned.
    """

    @property
    def clip(self) -> str: ...
    @property
    def person(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def frames(self) -> int: ...
    @property
    def descriptors(self) -> FloatArray: ...
    @property
    def landmarks_px(self) -> FloatArray: ...
    @property
    def image_frames(self) -> IntArray: ...

    def rgb(self, frame: int) -> ImageArray:
        """Crop of a frame, uint8 (256,256,3). Raises IndexError where there is no image."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredClip:
    """A `FaceClip` in a file; images are read and decoded when they are asked for."""

    path: Path
    clip: str
    person: str
    split: str
    frames: int

    @property
    def descriptors(self) -> FloatArray:
        """float32 (T,72)."""
        return _motion(self.path)[0]

    @property
    def landmarks_px(self) -> FloatArray:
        """float32 (T,478,3)."""
        return _motion(self.path)[1]

    @property
    def image_frames(self) -> IntArray:
        """int64 (P,)."""
        return _motion(self.path)[3]

    def rgb(self, frame: int) -> ImageArray:
        """Crop of a frame, uint8 (256,256,3).

        Raises:
            IndexError: no such frame, or none with an image. InputError: the file is damaged; prepare the clip again.
        """
        starts, image_frames = _motion(self.path)[2:]
        place = int(np.searchsorted(image_frames, frame))
        if place == len(image_frames) or image_frames[place] != frame:
            raise IndexError(f"clip {self.clip} has {self.frames} frames, and no image of frame {frame}")
        try:
            with safe_open(self.path, "numpy") as file:
                data = file.get_slice("jpeg")[int(starts[place]) : int(starts[place + 1])]
            return decode_jpeg(data, FACE_SIZE)
        except (SafetensorError, OSError, ValueError) as error:
            raise _damaged(self.path, error) from error


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MemoryClip:
    """A `FaceClip` in memory, with an image of every frame: uint8 (T,256,256,3)."""

    clip: str
    person: str
    split: str
    descriptors: FloatArray
    landmarks_px: FloatArray
    images: ImageArray

    @property
    def frames(self) -> int:
        """T."""
        return len(self.images)

    @property
    def image_frames(self) -> IntArray:
        """int64 (T,): every frame."""
        return np.arange(self.frames)

    def rgb(self, frame: int) -> ImageArray:
        """Crop of a frame, uint8 (256,256,3). Raises IndexError."""
        if not 0 <= frame < self.frames:
            raise IndexError(f"clip {self.clip} has {self.frames} frames, no frame {frame}")
        return np.asarray(self.images[frame], np.uint8)


def save_face_clip(
    path: Path,
    images: Iterable[bytes],
    landmarks_px: FloatArray,
    descriptors: FloatArray,
    *,
    image_frames: IntArray | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a clip, replacing the file in one step.

    Args:
        images: JPEG files of crops (`train.data.faces.jpeg`).
        landmarks_px: float32 (T,478,3); descriptors: float32 (T,72).
        image_frames: int64 (P,), the frames of the images, rising; None for one of each frame.
        metadata: kept in the file's header.

    Raises:
        OutputUnwritable: the disk is full or forbidden. ValueError: the lengths differ.
    """
    parts = list(images)
    frames = np.arange(len(descriptors)) if image_frames is None else np.asarray(image_frames, np.int64)
    if len(parts) != len(frames) or len(landmarks_px) != len(descriptors):
        raise ValueError(
            f"{len(parts)} images of {len(frames)} frames, {len(landmarks_px)} landmarks, "
            f"{len(descriptors)} descriptors"
        )
    tensors: dict[str, NDArray[Any]] = {
        **packed(parts),
        "landmarks": (landmarks_px - _CENTRE_PX).astype(np.float16),
        "descriptors": descriptors.astype(np.float32),
    }
    if image_frames is not None:
        tensors["pictured"] = frames
    save_tensors(path, tensors, metadata)


def load_face_clips(folder: Path) -> list[FaceClip]:
    """Clips with images of a prepared folder, in manifest order; refused ones are left out.

    Raises:
        FileNotFoundError: the folder is not prepared. InputError: it was prepared without images.
    """
    clips: list[FaceClip] = []
    for record in read_manifest(folder / "manifest.jsonl"):
        path = folder / "faces" / f"{record.clip}.safetensors"
        if not record.refused and path.is_file():
            clips.append(
                StoredClip(
                    path=path,
                    clip=record.clip,
                    person=record.provenance.person,
                    split=record.provenance.split,
                    frames=record.frames,
                )
            )
    if not clips:
        raise InputError(f"no images in {folder}: run `python -m train prepare ... images=true out={folder}`")
    return clips


@functools.lru_cache(maxsize=_CACHED_CLIPS)
def _motion(path: Path) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    """Descriptors, landmarks, JPEG starts and frames with an image, read-only; a few clips are kept."""
    try:
        with safe_open(path, "numpy") as file:
            descriptors = file.get_tensor("descriptors")
            landmarks = file.get_tensor("landmarks").astype(np.float32) + _CENTRE_PX
            starts = file.get_tensor("jpeg_start")
            all_frames = np.arange(len(descriptors))
            image_frames = file.get_tensor("pictured") if "pictured" in file.keys() else all_frames  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    for array in (descriptors, landmarks, starts, image_frames):
        array.flags.writeable = False
    return descriptors, landmarks, starts, image_frames


def _damaged(path: Path, why: object) -> InputError:
    return InputError(f"{path} cannot be read ({why}); delete it and prepare again")
