"""The geometric animator on the pairs that the neural one is judged by: what has to be beaten."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.animator import GeometricAnimator, PreparedPortrait
from engine.motion.coefficients import EXPRESSION, GAZE, POSE
from engine.motion.landmark_model import LandmarkModel
from engine.portrait import FaceCrop
from train.data.face_clips import FaceClip
from train.tasks.animator_figures import EvaluationPair, Render
from train.tasks.face_pairs import shrunk_picture

__all__ = ["geometric_render"]


def geometric_render(model: LandmarkModel, size: int) -> Render:
    """Pictures of ``size`` px of pairs, by the geometric animator.

    The source's expression is taken from the clip, as its motion is: a clip's expressions count from its own neutral,
    and what the source's landmarks say beside that is the person.
    """
    animator = GeometricAnimator(model)
    basis = model.expression_basis.numpy()

    portraits: dict[tuple[str, int], PreparedPortrait] = {}

    def prepared(clip: FaceClip, source: int) -> PreparedPortrait:
        descriptor, landmarks_px = clip.descriptors[source], clip.landmarks_px[source]
        found = model.fit(landmarks_px)
        person = np.tensordot(found.expression - descriptor[EXPRESSION], basis, 1)
        coefficients = dataclasses.replace(
            found,
            expression=descriptor[EXPRESSION],
            pose=descriptor[POSE],
            gaze=descriptor[GAZE],
            residual=found.residual + person,
        )
        matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
        return animator.prepare(FaceCrop(clip.rgb(source), landmarks_px, matrix), coefficients)

    def render(pairs: Sequence[EvaluationPair]) -> NDArray[np.uint8]:
        pictures = []
        for pair in pairs:
            name = (pair.clip.clip, pair.source)
            if name not in portraits:
                portraits[name] = prepared(pair.clip, pair.source)
            pictures.append(animator.render(portraits[name], pair.window_TD[pair.past][None]))
        return np.stack([shrunk_picture(picture, size) for picture in pictures])

    return render
