"""Fit the landmark motion space to stills and clips of many people.

neutral stills, clips' neutral medians --GPA--> mean face --+--> PCA of persons       -> identity basis
clips minus own neutral, smile minus neutral ---------------+--> PCA of deviations    -> expression basis
images of unknown expression: expression part solved for and taken out, then persons like the others
neutral stills that look into the camera -> centre of the eyeball
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.motion.space.coefficients import EXPRESSION_SIZE, IDENTITY_SIZE
from engine.motion.space.landmark_basis import LandmarkBasis
from engine.motion.space.landmark_fit import LandmarkFitter, mouth_openings
from engine.motion.space.landmark_table import LANDMARK_COUNT, RIGID
from train.motion_space.bases import Basis, generalised_procrustes, symmetric_pca
from train.motion_space.config import MotionSpaceConfig
from train.motion_space.people import FaceData
from train.motion_space.samples import (
    Samples,
    calibrate_eyes,
    collect_deviations,
    collect_persons,
    sample_weights,
    vertex_weight,
)

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FitReport:
    """Figures of the training data: share of variance in 20 and in all components, numbers of people and frames."""

    identity_held: float
    expression_held: float
    expression_held_20: float
    persons: int
    frames: int


def fit_motion_space(data: FaceData, config: MotionSpaceConfig | None = None) -> tuple[LandmarkBasis, FitReport]:
    """The motion space of the people in ``data``; deterministic."""
    config = config or MotionSpaceConfig()
    neutral = [still for still in data.stills if still.kind == "neutral"]
    frontal = [still for still in neutral if still.group in ("london", "canada")] or neutral
    frontal_landmarks = np.stack([still.landmarks for still in frontal]).astype(np.float64)
    mean = generalised_procrustes(frontal_landmarks, np.ones(len(frontal)))
    weight = vertex_weight(config)
    mean, eye_centre = calibrate_eyes(frontal_landmarks, mean, config)
    shell = _shell(mean, weight, eye_centre, config)

    moves, neutrals = collect_deviations(data, mean, LandmarkFitter(shell))
    expression_weights = sample_weights(moves.groups, moves.people, dict(config.expression_share))
    expression = symmetric_pca(moves.shapes, expression_weights, weight, EXPRESSION_SIZE)

    persons = collect_persons(data, mean, neutrals)
    known = persons.select(persons.groups != "small")
    identity = _identity(known, mean, weight, config)
    smiling = persons.select(persons.groups == "small")
    if len(smiling.shapes):
        # The neutral people's identity basis holds no open mouths, so it tells a smile from a face.
        separate = LandmarkFitter(_with_bases(shell, identity, expression))
        found = np.stack([separate.image(shape, crop_size=1).expression for shape in smiling.shapes])
        calm = smiling.shapes - np.tensordot(found.astype(np.float64), expression.vectors, 1)
        rest = np.abs(mouth_openings(calm) - mouth_openings(mean)) < config.max_rest_opening
        identity = _identity(known.join(replace(smiling, shapes=calm).select(rest)), mean, weight, config)
    report = FitReport(
        identity_held=float(identity.held[-1]),
        expression_held=float(expression.held[-1]),
        expression_held_20=float(expression.held[19]),
        persons=len(set(persons.people.tolist())),
        frames=len(moves.shapes),
    )
    return _with_bases(shell, identity, expression), report


def _identity(persons: Samples, mean: _Array, weight: _Array, config: MotionSpaceConfig) -> Basis:
    weights = sample_weights(persons.groups, persons.people, dict(config.person_share))
    return symmetric_pca(persons.shapes - mean, weights, weight, IDENTITY_SIZE)


def _shell(mean: _Array, weight: _Array, eye_centre: _Array, config: MotionSpaceConfig) -> LandmarkBasis:
    """A motion space without bases: enough to align and to find neutral frames."""
    return LandmarkBasis(
        mean=mean.astype(np.float32),
        identity_basis=np.zeros((IDENTITY_SIZE, LANDMARK_COUNT, 3), np.float32),
        expression_basis=np.zeros((EXPRESSION_SIZE, LANDMARK_COUNT, 3), np.float32),
        identity_std=np.zeros(IDENTITY_SIZE, np.float32),
        expression_std=np.zeros(EXPRESSION_SIZE, np.float32),
        identity_mirror_sign=np.ones(IDENTITY_SIZE, np.float32),
        expression_mirror_sign=np.ones(EXPRESSION_SIZE, np.float32),
        vertex_weight=weight.astype(np.float32),
        rigid_indices=RIGID,
        eye_centre_offset=eye_centre.astype(np.float32),
        eyeball_radius=np.array(config.eyeball_radius, np.float32),
        picture_noise=np.array(config.picture_noise, np.float32),
        sequence_noise=np.array(config.sequence_noise, np.float32),
    )


def _with_bases(shell: LandmarkBasis, identity: Basis, expression: Basis) -> LandmarkBasis:
    return replace(
        shell,
        identity_basis=identity.vectors.astype(np.float32),
        identity_std=identity.std.astype(np.float32),
        identity_mirror_sign=identity.mirror_sign.astype(np.float32),
        expression_basis=expression.vectors.astype(np.float32),
        expression_std=expression.std.astype(np.float32),
        expression_mirror_sign=expression.mirror_sign.astype(np.float32),
    )
