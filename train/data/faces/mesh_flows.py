"""Dense flows of the geometric animator's mesh: what the neural animator's flow learns from, without an image.

    a face (video or still, its own or between two people) -> placed anew -> measures of the portrait
    a motion (of the video, or drawn)                                     -> windows of descriptors
    both -> mesh, lids and irises -> flow of 64 x 64, where each place of the moved image comes from

    flows.safetensors   measures   float32 (P,1506)          descriptor, and the neutral shape less the mean face's
                        portrait   int64 (N,)                whose
                        window     float32 (N,W,72)          the last descriptor is the shown one
                        flow       float16 (N,2,64,64)       x, y in halves of the image
                        landmarks  float16 (N,478,2)         of the moved face, in [-1, 1] of the image

Shape suffixes as in `engine.animator`; P portraits, N samples, W window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from engine.animator import GeometricAnimator
from engine.errors import InputError
from engine.motion.space.coefficients import (
    DESCRIPTOR_SIZE,
    EXPRESSION,
    GAZE,
    IDENTITY_SIZE,
    POSE,
    Coefficients,
)
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import LANDMARK_COUNT
from engine.portrait import FaceCrop
from train.data.faces.face_clips import FACE_SIZE, FaceClip
from train.data.faces.measures import neutral_shapes
from train.data.faces.random_motion import RandomMotion, draw_motion
from train.data.faces.still_clips import StillPortrait
from train.data.pipeline.files import save_tensors

FLOW_SIZE: Final = 64
NEUTRAL_MEASURES_SIZE: Final = DESCRIPTOR_SIZE + 3 * LANDMARK_COUNT

_MESH_SIZE = 128
_GREY = np.full((_MESH_SIZE, _MESH_SIZE, 3), 128, np.uint8)
_NO_MATRIX = np.array([[1, 0, 0], [0, 1, 0]], np.float32)

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFlowConfig:
    """What flows are made of.

    Attributes:
        portraits: how many; samples: flows of each; window: descriptors of each.
        film_share: portraits that are frames of a video; the others are stills.
        own_share: of those, the ones that move as their own video does.
        blend: stills whose shape lies between two people.
        scale, shift, roll_rad: how far a portrait is placed anew: log, halves of the crop, radians either side.
        motion: drawn motions.
        wide_gaze: share of the samples that look anywhere.
    """

    portraits: int = 1600
    samples: int = 12
    window: int = 7
    video_share: float = 0.5
    own_share: float = 0.6
    blend: float = 0.5
    scale: float = 0.1
    shift: float = 0.08
    roll_rad: float = 0.08
    motion: RandomMotion = field(
        default_factory=lambda: RandomMotion(frames=24, head_pace_s=0.12, gaze_rad=0.25, blink_every_s=1.2)
    )
    wide_gaze: float = 0.25


@dataclass(frozen=True, slots=True)
class _Face:
    """A portrait in the motion space: shape at expression 0 and what it shows."""

    neutral_N3: FloatArray
    descriptor: FloatArray
    video: FaceClip | None = None


def _neutral(landmarks_px: NDArray[np.floating], descriptor: NDArray[np.floating], model: LandmarkModel) -> FloatArray:
    points, motion = (torch.from_numpy(np.array(part, np.float32)) for part in (landmarks_px, descriptor))
    return np.asarray(neutral_shapes(points[None], motion[None], model)[0].numpy())


def mesh_flows(
    videos: Sequence[FaceClip],
    stills: Sequence[StillPortrait],
    config: MeshFlowConfig,
    seed: int,
    portraits: int,
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Samples of ``portraits``, one after the other: ``measures`` (1, 1506), and (S, ...) of the others.

    Raises:
        InputError: nothing to choose from.
    """
    if not videos or not stills:
        raise InputError("flows are made of videos and stills: prepare both (prepare, prepare_faces)")
    from engine.motion.space.motion_space import BUNDLED_MOTION_SPACE

    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    animator = GeometricAnimator(model)
    shapes = [_still(portrait, model) for portrait in stills]
    for index in range(portraits):
        rng = np.random.default_rng([seed, index])
        face = _video(videos, model, rng) if rng.random() < config.video_share else _blended(shapes, config, rng)
        windows = _windows(face, videos, model, config, rng)
        yield _samples(*_placed(face, windows, model, config, rng), model, animator)


def save_flows(path: Path, portraits: Iterator[Mapping[str, NDArray[np.generic]]], count: int) -> int:
    """Write samples in one file; returns how many. Raises OutputUnwritable."""
    parts: dict[str, list[NDArray[np.generic]]] = {}
    for number, made in enumerate(track(portraits, "flows", total=count)):
        for name, value in made.items():
            parts.setdefault(name, []).append(value)
        parts.setdefault("portrait", []).append(np.full(len(made["window"]), number, np.int64))
    save_tensors(path, {name: np.concatenate(values) for name, values in parts.items()}, None)
    return sum(map(len, parts["portrait"]))


def _still(portrait: StillPortrait, model: LandmarkModel) -> _Face:
    found = model.fit(portrait.landmarks_px)
    return _Face(_neutral(portrait.landmarks_px, found.descriptor, model), found.descriptor)


def _video(videos: Sequence[FaceClip], model: LandmarkModel, rng: np.random.Generator) -> _Face:
    people = sorted({video.person for video in videos})
    person = people[int(rng.integers(len(people)))]
    own = [video for video in videos if video.person == person]
    video = own[int(rng.integers(len(own)))]
    frame = int(video.pictured[rng.integers(len(video.pictured))])
    descriptor = video.descriptors[frame]
    return _Face(_neutral(video.landmarks_px[frame], descriptor, model), descriptor, video)


def _blended(shapes: Sequence[_Face], config: MeshFlowConfig, rng: np.random.Generator) -> _Face:
    one, other = (shapes[int(i)] for i in rng.integers(len(shapes), size=2))
    share = np.float32(rng.uniform(0, 0.5) if rng.random() < config.blend else 0)
    return _Face(one.neutral_N3 + share * (other.neutral_N3 - one.neutral_N3), one.descriptor)


def _windows(
    face: _Face,
    videos: Sequence[FaceClip],
    model: LandmarkModel,
    config: MeshFlowConfig,
    rng: np.random.Generator,
) -> FloatArray:
    """(S, W, 72) motion windows about the portrait's place."""
    if face.video is not None and rng.random() < config.own_share:
        return _spans(face.video.descriptors, config, rng)
    rest = Coefficients(
        identity=np.zeros(IDENTITY_SIZE, np.float32),
        expression=face.descriptor[EXPRESSION],
        pose=face.descriptor[POSE],
        gaze=face.descriptor[GAZE],
        residual=np.zeros((LANDMARK_COUNT, 3), np.float32),
    )
    windows = _spans(draw_motion(config.motion, rest, model, rng), config, rng)
    if rng.random() < 0.5:
        video = videos[int(rng.integers(len(videos)))]
        windows[..., EXPRESSION] = rng.uniform(0.6, 1.3) * _spans(video.descriptors, config, rng)[..., EXPRESSION]
    wide = rng.random(len(windows)) < config.wide_gaze
    windows[wide, :, GAZE] = (rng.uniform(-1, 1, (int(wide.sum()), 2)) * (0.45, 0.95))[:, None]
    return windows


def _spans(motion: FloatArray, config: MeshFlowConfig, rng: np.random.Generator) -> FloatArray:
    """(S, W, 72): windows that end anywhere in a motion; a few hold their last descriptor."""
    last = rng.integers(len(motion), size=config.samples)
    at = last[:, None] + np.arange(1 - config.window, 1)
    at[rng.random(config.samples) < 0.15] = -1
    at = np.where(at < 0, np.where(at == -1, last[:, None], 0), at)
    return np.asarray(motion[at], np.float32).copy()


def _placed(
    face: _Face, windows: FloatArray, model: LandmarkModel, config: MeshFlowConfig, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Neutral shape, descriptor and windows of the mirrored, moved, turned and scaled portrait."""
    from train.datasets.face_augmentation import FaceAugmentation, FaceChange

    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    limits = FaceAugmentation(mirror=0.5, shift=config.shift, scale=config.scale, roll_rad=config.roll_rad)
    change = FaceChange.draw(generator, 1, limits)
    both = np.concatenate([face.descriptor[None, None], windows.reshape(1, -1, DESCRIPTOR_SIZE)], 1)
    sign = model.expression_mirror_sign
    moved = change.descriptors(torch.from_numpy(both).float(), sign)[0].numpy()
    rest = torch.from_numpy(face.descriptor.copy())
    shape = torch.from_numpy(face.neutral_N3) + torch.tensordot(rest[EXPRESSION], model.expression_basis, 1)
    landmarks = change.landmarks(model.project(shape, rest[POSE])[None])[0].numpy()
    return _neutral(landmarks, moved[0], model), moved[0], moved[1:].reshape(windows.shape)


def _samples(
    neutral: FloatArray,
    rest: FloatArray,
    windows: FloatArray,
    model: LandmarkModel,
    animator: GeometricAnimator,
) -> dict[str, NDArray[np.generic]]:
    mean = model.mean.numpy()
    coefficients = Coefficients(
        identity=np.zeros(IDENTITY_SIZE, np.float32),
        expression=rest[EXPRESSION],
        pose=rest[POSE],
        gaze=rest[GAZE],
        residual=neutral - mean,
    )
    with torch.inference_mode():
        landmarks = model.landmarks(coefficients, torch.from_numpy(rest), _MESH_SIZE).numpy()
        shown = model.landmarks(coefficients, torch.from_numpy(windows[:, -1])).numpy()
    prepared = animator.prepare(FaceCrop(_GREY, landmarks, _NO_MATRIX), coefficients)
    still = np.stack(np.meshgrid(np.arange(_MESH_SIZE), np.arange(_MESH_SIZE)), -1).astype(np.float32)
    flows = [
        cv2.resize(
            (animator.source_map(prepared, window[-1]) - still) * (2 / _MESH_SIZE),
            (FLOW_SIZE, FLOW_SIZE),
            interpolation=cv2.INTER_AREA,
        )
        for window in windows
    ]
    return {
        "measures": np.concatenate([rest, (neutral - mean).reshape(-1)])[None].astype(np.float32),
        "window": windows.astype(np.float32),
        "flow": np.stack(flows).transpose(0, 3, 1, 2).astype(np.float16),
        "landmarks": (shown[..., :2] / (FACE_SIZE / 2) - 1).astype(np.float16),
    }
