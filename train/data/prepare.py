"""From a folder of clips to shards: track, align, describe, stretch. Resumable; bad clips are refused by name.

clips/*.mp4 -> track (478 landmarks a frame) -> align (audio-video offset) -> shards/*.safetensors + manifest.jsonl
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from engine.audio import mel_spectrogram
from engine.errors import InputError
from engine.motion.coefficients import SequenceCoefficients
from engine.motion.landmark_model import LandmarkModel
from engine.motion.motion_space import BUNDLED_MOTION_SPACE
from engine.motion.pose import REFERENCE_SCALE, similarity_from_pose
from engine.timebase import SAMPLES_PER_FRAME
from train.data.align import AlignmentClip, AlignmentConfig, Offset, estimate_offsets
from train.data.clips import CLIP_SUFFIXES, read_frames, read_sound, shift_samples
from train.data.manifest import ClipRecord, read_manifest, write_manifest
from train.data.portraits import prepare_portraits
from train.data.shards import ClipFeatures, MelVariant, load_clip, save_clip
from train.data.sources import describe_clip
from train.data.stretch import WaveStretch, stretch_wave
from train.metrics.mouth import mouth_opening

__all__ = ["PrepareConfig", "load_prepared", "prepare"]

_log = logging.getLogger(__name__)
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Where clips are read from and shards go.

    Attributes:
        data: folder of films (searched one level deep).
        portraits: folder of still portraits whose expressions are added to e_0 in training; None for none.
        out: folder for tracks, shards and the manifest.
        motion_space: ``motion_space.safetensors`` that defines the numbers.
        variants: stretched copies of each wave beside the true one.
        min_face_share: a clip with faces in fewer of its frames is refused.
        max_gap_frames: a clip with a longer run of frames without a face is refused; shorter runs are filled in.
    """

    data: Path
    out: Path
    portraits: Path | None = None
    motion_space: Path = BUNDLED_MOTION_SPACE
    variants: int = 8
    seed: int = 0
    min_face_share: float = 0.95
    max_gap_frames: int = 5
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    stretch: WaveStretch = field(default_factory=WaveStretch)


def prepare(config: PrepareConfig) -> list[ClipRecord]:
    """Prepare every clip of a folder; finished tracks are kept between runs.

    Returns:
        One record a clip, refused ones included; the same records are in ``out/manifest.jsonl``.

    Raises:
        InputError: no clip in the folder.
    """
    paths = sorted(path for path in config.data.iterdir() if path.suffix.lower() in CLIP_SUFFIXES)
    if not paths:
        raise InputError(f"no films ({', '.join(sorted(CLIP_SUFFIXES))}) in {config.data}")
    for folder in ("tracks", "shards"):
        (config.out / folder).mkdir(parents=True, exist_ok=True)
    model = LandmarkModel.load(config.motion_space)
    if config.portraits is not None:
        prepare_portraits(config.portraits, config.out, model)
    tracks: dict[str, FloatArray] = {}
    sounds: dict[str, FloatArray | None] = {}
    refused: dict[str, str] = {}
    for path in track(paths, description="tracking"):
        try:
            tracks[path.stem] = _filled(_tracked(path, config.out / "tracks"), config)
            sounds[path.stem] = read_sound(path)
        except InputError as error:
            refused[path.stem] = str(error)
            tracks.pop(path.stem, None)
            _log.warning("clip %s refused: %s", path.stem, error)
    motions = {stem: _fitted(model, found) for stem, found in track(tracks.items(), "fitting")}
    offsets = _offsets(motions, sounds, model, config)
    records = []
    for path in track(paths, description="shards"):
        stem = path.stem
        offset = offsets.get(stem, Offset(0, 0.0))
        reason = refused.get(stem, "") or offset.refused
        records.append(_record(stem, len(tracks.get(stem, ())), sounds.get(stem) is not None, offset, reason))
        shard = config.out / "shards" / f"{stem}.safetensors"
        if reason:
            shard.unlink(missing_ok=True)
        else:
            save_clip(shard, _features(stem, motions[stem], sounds[stem], offset, model, config))
    write_manifest(config.out / "manifest.jsonl", records)
    return records


def load_prepared(out: Path) -> list[ClipFeatures]:
    """All accepted clips of a prepared folder, in manifest order."""
    records = read_manifest(out / "manifest.jsonl")
    return [
        load_clip(out / "shards" / f"{record.clip}.safetensors", record.person, record.split)
        for record in records
        if not record.refused
    ]


def _tracked(path: Path, cache: Path) -> FloatArray:
    """Landmarks (T,478,3) in pixels of the film; NaN where no face was found."""
    cached = cache / f"{path.stem}.npy"
    if cached.is_file():
        landmarks: FloatArray = np.load(cached)
        return landmarks
    from engine.errors import NoFaceFound
    from engine.portrait import FaceLandmarker

    landmarker = FaceLandmarker()
    found = []
    for rgb in read_frames(path):
        try:
            found.append(landmarker.detect(rgb))
        except NoFaceFound:
            found.append(np.full((478, 3), np.nan, np.float32))
    landmarks = np.stack(found).astype(np.float32)
    partial = cached.with_suffix(".partial.npy")
    np.save(partial, landmarks)
    partial.replace(cached)
    return landmarks


def _filled(landmarks: FloatArray, config: PrepareConfig) -> FloatArray:
    """Fill short gaps linearly.

    Raises:
        InputError: too few frames with a face, or too long a gap.
    """
    seen = ~np.isnan(landmarks[:, 0, 0])
    if seen.mean() < config.min_face_share:
        raise InputError(f"a face in only {100 * seen.mean():.0f} % of the frames")
    gap = 0
    for visible in seen:
        gap = 0 if visible else gap + 1
        if gap > config.max_gap_frames:
            raise InputError(f"no face for more than {config.max_gap_frames} frames in a row")
    index = np.arange(len(landmarks))
    flat = landmarks.reshape(len(landmarks), -1)
    for column in range(0 if seen.all() else flat.shape[1]):
        flat[:, column] = np.interp(index, index[seen], flat[seen, column])
    return flat.reshape(landmarks.shape)


def _fitted(model: LandmarkModel, landmarks_px: FloatArray) -> SequenceCoefficients:
    """Coefficients in one fixed crop a clip, set so that the median face stands in its middle at tz = 0."""
    in_film = model.fit_sequence(landmarks_px, crop_size=1)
    scale, _, translation = similarity_from_pose(torch.from_numpy(in_film.pose), 1)
    crop_size = float(scale.median()) / REFERENCE_SCALE
    shift = crop_size / 2 - translation.median(0).values.numpy()
    shift[2] = 0
    return model.fit_sequence(landmarks_px + shift, crop_size=crop_size)


def _offsets(
    motions: Mapping[str, SequenceCoefficients],
    sounds: Mapping[str, FloatArray | None],
    model: LandmarkModel,
    config: PrepareConfig,
) -> dict[str, Offset]:
    clips = {}
    for stem, motion in motions.items():
        sound = sounds[stem]
        if sound is None:
            continue
        source = describe_clip(stem)
        opening = mouth_opening(model, torch.from_numpy(motion.expression)).numpy()
        clips[stem] = AlignmentClip(
            person=source.person,
            mel=mel_spectrogram(sound),
            opening=opening,
            prior_frames=source.offset_prior_frames,
        )
    return estimate_offsets(clips, config.alignment)


def _features(
    stem: str,
    motion: SequenceCoefficients,
    sound: FloatArray | None,
    offset: Offset,
    model: LandmarkModel,
    config: PrepareConfig,
) -> ClipFeatures:
    source = describe_clip(stem)
    frames = len(motion.expression)
    heard = np.zeros(frames, bool)
    variants: list[MelVariant] = []
    if sound is not None:
        aligned = shift_samples(sound, -offset.frames * SAMPLES_PER_FRAME)[: frames * SAMPLES_PER_FRAME]
        first = max(0, -offset.frames)
        heard[first : len(aligned) // SAMPLES_PER_FRAME] = True
        variants.append(MelVariant(mel_spectrogram(aligned), 1.0))
        rng = np.random.default_rng([config.seed, *stem.encode()])
        for _ in range(config.variants):
            wave, speed = stretch_wave(aligned, rng, config.stretch)
            variants.append(MelVariant(mel_spectrogram(wave), speed))
    with torch.no_grad():
        eye_feature = model.eye_feature(torch.from_numpy(motion.expression)).numpy()
    return ClipFeatures(
        clip=stem,
        person=source.person,
        split=source.split,
        expression=motion.expression,
        pose=motion.pose,
        gaze=motion.gaze,
        eye_feature=eye_feature.astype(np.float32),
        heard=heard,
        variants=tuple(variants),
    )


def _record(stem: str, frames: int, has_sound: bool, offset: Offset, reason: str) -> ClipRecord:
    source = describe_clip(stem)
    return ClipRecord(
        clip=stem,
        person=source.person,
        split=source.split,
        licence=source.licence,
        credit=source.credit,
        frames=frames,
        has_sound=has_sound,
        offset_frames=offset.frames,
        offset_score=round(offset.score, 3),
        refused=reason,
    )
