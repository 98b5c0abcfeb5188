"""A face pack: what the animator trains on, small enough to carry to a machine with a GPU.

    manifest.jsonl              the videos, with licence and split
    faces/CLIP.safetensors      all descriptors, the images of every n-th frame (see `train.data.faces.face_clips`)
    stills.safetensors          jpeg, jpeg_start, landmarks float16 (S,478,3) as in faces/; metadata: names, people
    ../PACK.zip                 all of it, one file

Landmarks of frames without an image are not kept: they stand in the middle of the crop.
"""

import json
import logging
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from safetensors import SafetensorError, safe_open

from engine.errors import InputError, PortraitError
from engine.files import replacing
from engine.portrait import FaceLandmarker, crop_face, load_image
from train.data.faces.face_clips import FACE_SIZE, FaceClip, load_face_clips, save_face_clip
from train.data.faces.jpeg import decode_jpeg, encode_jpeg, packed
from train.data.readers.portraits import PORTRAIT_SUFFIXES, portrait_held_out
from train.data.storage.files import make_folder, save_tensors
from train.data.storage.manifest import read_manifest, write_manifest

_log = logging.getLogger(__name__)

_STILLS = "stills.safetensors"
_CENTRE_PX = FACE_SIZE / 2
_EXPRESSIONS = ("-neutral", "-smile")
"""Ends of file names under which one person is shown more than once."""


@dataclass(frozen=True, slots=True)
class StillPortrait:
    """A portrait's crop: rgb uint8 (256,256,3) and its landmarks float32 (478,3) in crop px."""

    name: str
    person: str
    split: str
    rgb: NDArray[np.uint8]
    landmarks_px: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacePackConfig:
    """What goes into a pack.

    Attributes:
        prepared: folder of `prepare` with images; None packs stills only.
        portraits: folders of still portraits.
        out: folder of the pack; the archive lies beside it.
        every: videos keep the image of every n-th frame.
        quality: JPEG quality; colours at half resolution.
        most_mib: the archive must not be larger.
    """

    out: Path
    prepared: Path | None = None
    portraits: tuple[Path, ...] = ()
    every: int = 4
    quality: int = 88
    most_mib: float = 45.0

    def __post_init__(self) -> None:
        if self.every < 1 or not 1 <= self.quality <= 100:
            raise ValueError("every must be at least 1 and quality within 1..100")


def build_face_pack(config: FacePackConfig) -> dict[str, float]:
    """Write a pack and its archive.

    Returns:
        videos, images (of them), stills, mib (of the archive).

    Raises:
        InputError: nothing to pack, or the archive is larger than asked; what to change.
        OutputUnwritable: the disk is full or forbidden.
    """
    make_folder(config.out / "faces")
    videos = [] if config.prepared is None else load_face_clips(config.prepared)
    images = sum(_pack_video(clip, config) for clip in track(videos, description="videos"))
    if config.prepared is not None:
        kept = {clip.clip for clip in videos}
        records = [r for r in read_manifest(config.prepared / "manifest.jsonl") if r.clip in kept]
        write_manifest(config.out / "manifest.jsonl", records)
    stills = list(_still_portraits(config.portraits)) if config.portraits else []
    if stills:
        _save_stills(config.out / _STILLS, stills, config.quality)
    if not videos and not stills:
        raise InputError(
            "no face to pack: name a prepared folder (prepared=), folders of portraits (portraits=) or both"
        )
    mib = _archive(config.out)
    if mib > config.most_mib:
        raise InputError(
            f"the pack takes {mib:.1f} MiB, more than {config.most_mib:g}: raise every={config.every} or lower "
            f"quality={config.quality}"
        )
    return {"videos": len(videos), "images": images, "stills": len(stills), "mib": mib}


def load_still_portraits(folder: Path) -> list[StillPortrait]:
    """Still portraits of a pack.

    Raises:
        InputError: it has none, or the file is damaged.
    """
    path = folder / _STILLS
    if not path.is_file():
        raise InputError(
            f"no still portraits in {folder}: run `python -m train prepare_faces portraits=... out={folder}`"
        )
    try:
        with safe_open(path, "numpy") as file:
            people = json.loads(file.metadata()["people"])
            data, starts = file.get_tensor("jpeg"), file.get_tensor("jpeg_start")
            landmarks = file.get_tensor("landmarks").astype(np.float32) + np.float32(_CENTRE_PX)
        return [
            StillPortrait(
                name, person, split, decode_jpeg(data[starts[row] : starts[row + 1]], FACE_SIZE), landmarks[row]
            )
            for row, (name, person, split) in enumerate(people)
        ]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError, cv2.error) as error:
        raise InputError(f"{path} cannot be read ({error}); make the pack again") from error


def _pack_video(clip: FaceClip, config: FacePackConfig) -> int:
    """Write one thinned video; how many images it keeps."""
    kept = clip.image_frames[:: config.every]
    landmarks = np.full_like(clip.landmarks_px, _CENTRE_PX)
    landmarks[kept] = clip.landmarks_px[kept]
    save_face_clip(
        config.out / "faces" / f"{clip.clip}.safetensors",
        [encode_jpeg(clip.rgb(int(frame)), config.quality, full_colour=False) for frame in kept],
        landmarks,
        clip.descriptors,
        image_frames=kept,
    )
    return len(kept)


def _still_portraits(folders: Sequence[Path]) -> Iterator[StillPortrait]:
    """Head crops of all portraits in which a face is found."""
    paths = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix.lower() in PORTRAIT_SUFFIXES]
    landmarker = FaceLandmarker()
    for path in track(paths, description="stills"):
        try:
            rgb = load_image(path)
            crop = crop_face(rgb, landmarker.detect(rgb), FACE_SIZE)
        except PortraitError as error:
            _log.warning("portrait %s left out: %s", path.name, error)
            continue
        person = path.stem
        for expression in _EXPRESSIONS:
            person = person.removesuffix(expression)
        split = "held_out" if portrait_held_out(path.stem) else "train"
        yield StillPortrait(path.stem, person, split, crop.rgb, crop.landmarks_px)


def _save_stills(path: Path, stills: Iterable[StillPortrait], quality: int) -> None:
    rows = list(stills)
    parts = [encode_jpeg(still.rgb, quality, full_colour=False) for still in rows]
    landmarks = np.stack([still.landmarks_px for still in rows])
    tensors: dict[str, NDArray[Any]] = {
        **packed(parts),
        "landmarks": (landmarks - _CENTRE_PX).astype(np.float16),
    }
    people = json.dumps([(still.name, still.person, still.split) for still in rows])
    save_tensors(path, tensors, {"people": people})


def _archive(folder: Path) -> float:
    """Zip the folder beside itself; size in MiB."""
    path = folder.with_name(f"{folder.name}.zip")
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path.stat().st_size / 2**20
