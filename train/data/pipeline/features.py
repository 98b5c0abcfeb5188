"""Second pass over a clip: motion, audio and images, aligned with each other, as the tasks read them.

shards/CLIP.safetensors   motion and mels (`ClipFeatures`)        pose in a crop centred on the clip's median face
faces/CLIP.safetensors    images and motion (`FaceClip`)          pose in the crop that the images show
"""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine.audio import mel_spectrogram
from engine.checkpoint import WeightsFolder
from engine.errors import InputError
from engine.motion.space.coefficients import EXPRESSION, GAZE, POSE
from engine.motion.space.motion_space import MotionSpace, load_motion_space
from engine.portrait import FaceCrop, crop_face
from engine.timebase import SAMPLES_PER_FRAME
from train.data.faces.face_clips import FACE_SIZE, save_face_clip
from train.data.faces.jpeg import encode_jpeg
from train.data.pipeline.scan import ScanTask, centred_motion, load_model, read_landmarks, read_scan
from train.data.readers.clips import read_audio, read_frames, shift_samples
from train.data.speech.augment import WaveAugmentation, augment_wave
from train.data.storage.shards import ClipFeatures, MelVariant, save_clip

FloatArray = NDArray[np.float32]

_VERSION = 1
_MOST_OUTSIDE = 0.02
_LEFT_CROP = "the head leaves its crop"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTask:
    """What one second pass needs.

    Attributes:
        scan: the first pass, finished.
        offset_frames: by how much the audio is late.
        weights: release weights that measure the bfm motion space; None for the landmark space.
    """

    scan: ScanTask
    offset_frames: int
    variants: int
    augmentation: WaveAugmentation
    seed: int
    images: bool
    weights: Path | None

    @property
    def shard(self) -> Path:
        """Where the motion goes."""
        return self.scan.out / "shards" / f"{self.scan.clip.clip}.safetensors"

    @property
    def faces(self) -> Path:
        """Where the images go."""
        return self.scan.out / "faces" / f"{self.scan.clip.clip}.safetensors"

    def key(self, scan_key: str) -> str:
        """Changes when anything that goes into the files does."""
        parts = (_VERSION, scan_key, self.offset_frames, self.variants, self.augmentation, self.seed)
        return hashlib.sha256(repr((*parts, str(self.weights))).encode()).hexdigest()[:32]

    def finished(self, scan_key: str) -> str | None:
        """Why the finished clip has no images (empty: it has, or none were asked for); None if it is not finished."""
        key, header = self.key(scan_key), _header(self.shard)
        without = header.get("without_pictures", "") if self.images else ""
        has_images = not self.images or without or _header(self.faces).get("key") == key
        return without if header.get("key") == key and has_images else None


def write_features(task: FeatureTask) -> tuple[str, str]:
    """Describe one clip and write its files.

    Returns:
        Why the clip is refused after all, and why it has no images; empty strings where all went well.

    Raises:
        OutputUnwritable: the disk is full or forbidden.
    """
    clip = task.scan.clip
    scan = read_scan(task.scan.path)
    assert scan is not None
    landmarks = read_landmarks(task.scan.path)
    model = load_model(task.scan.motion_space)
    motion = centred_motion(model, landmarks)
    descriptors = motion.descriptors
    header = {"key": task.key(scan.key)}
    without_images = ""
    # Images of an earlier state must not outlive it.
    task.faces.unlink(missing_ok=True)
    try:
        audio = read_audio(clip.path, clip.start_s, clip.end_s) if scan.has_audio else None
        if task.images or task.weights is not None:
            crops = _crops(task, landmarks)
            if crops is None:
                without_images = _LEFT_CROP
                if task.weights is not None:
                    return f"{_LEFT_CROP}, in which the bfm numbers are measured", ""
            else:
                descriptors = _write_faces(task, crops, descriptors, header)
    except InputError as error:
        return str(error), ""
    with torch.no_grad():
        eye_feature = model.eye_feature(torch.from_numpy(motion.expression)).numpy().astype(np.float32)
    heard, variants = _heard(task, audio, len(landmarks))
    features = ClipFeatures(
        clip=clip.clip,
        person=clip.provenance.person,
        split=clip.provenance.split,
        expression=descriptors[:, EXPRESSION],
        pose=descriptors[:, POSE],
        gaze=descriptors[:, GAZE],
        eye_feature=eye_feature,
        heard=heard,
        variants=variants,
    )
    # The shard is last: a clip with a shard is a finished clip.
    save_clip(task.shard, features, {**header, "without_pictures": without_images})
    return "", without_images


def _header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def _heard(
    task: FeatureTask, audio: FloatArray | None, frames: int
) -> tuple[NDArray[np.bool_], tuple[MelVariant, ...]]:
    """Which frames have audio once it is aligned, and its mels: as it is, and augmented."""
    heard = np.zeros(frames, bool)
    if audio is None:
        return heard, ()
    aligned = shift_samples(audio, -task.offset_frames * SAMPLES_PER_FRAME)[: frames * SAMPLES_PER_FRAME]
    heard[max(0, -task.offset_frames) : len(aligned) // SAMPLES_PER_FRAME] = True
    variants = [MelVariant(mel_spectrogram(aligned), 1.0)]
    rng = np.random.default_rng([task.seed, *task.scan.clip.clip.encode()])
    for _ in range(task.variants):
        wave, speed = augment_wave(aligned, rng, task.augmentation)
        variants.append(MelVariant(mel_spectrogram(wave), speed))
    return heard, tuple(variants)


def _crops(task: FeatureTask, landmarks_px: FloatArray) -> Iterator[FaceCrop] | None:
    """The clip's crops, one place for all frames; None where the face does not stay in it."""
    clip = task.scan.clip
    median = np.median(landmarks_px, axis=0).astype(np.float32)
    first = next(read_frames(clip.path, clip.start_s, clip.end_s))
    matrix = crop_face(first, median, FACE_SIZE).matrix
    moved = landmarks_px * matrix[0, 0]
    moved[..., :2] += matrix[:, 2]
    low, high = moved[..., :2].min((1, 2)), moved[..., :2].max((1, 2))
    if ((low < 0) | (high > FACE_SIZE)).mean() > _MOST_OUTSIDE:
        return None
    frames = read_frames(clip.path, clip.start_s, clip.end_s)
    return (
        FaceCrop(crop_face(rgb, median, FACE_SIZE).rgb, points, matrix)
        for rgb, points in zip(frames, moved, strict=True)
    )


def _write_faces(
    task: FeatureTask, crops: Iterator[FaceCrop], centred: FloatArray, header: dict[str, str]
) -> FloatArray:
    """Write the images; returns the descriptors (T,72) of the shard: ``centred``, or what bfm networks measure."""
    images, landmarks, measured = [], [], []
    space = None if task.weights is None else _space(task.weights)
    for crop in crops:
        landmarks.append(crop.landmarks_px)
        if task.images:
            images.append(encode_jpeg(crop.rgb))
        if space is not None:
            measured.append(space.measure(crop).descriptor)
    in_crop = np.stack(landmarks).astype(np.float32)
    if space is not None:
        descriptors = np.stack(measured).astype(np.float32)
        centred = descriptors
    else:
        model = load_model(task.scan.motion_space)
        descriptors = model.fit_sequence(in_crop, crop_size=FACE_SIZE).descriptors
    if task.images:
        save_face_clip(task.faces, images, in_crop, descriptors, metadata=header)
    return centred


@functools.cache
def _space(weights: Path) -> MotionSpace:
    return load_motion_space(WeightsFolder.open(weights))
