"""The geometric animator on the pairs that the neural one is judged by: what has to be beaten."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.animator import GeometricAnimator
from engine.motion.coefficients import EXPRESSION, GAZE, POSE
from engine.motion.landmark_model import LandmarkModel
from engine.portrait import FaceCrop
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

    def render(pairs: Sequence[EvaluationPair]) -> NDArray[np.uint8]:
        pictures = []
        for pair in pairs:
            descriptor = pair.clip.descriptors[pair.source]
            found = model.fit(pair.clip.landmarks_px[pair.source])
            person = np.tensordot(found.expression - descriptor[EXPRESSION], basis, 1)
            coefficients = dataclasses.replace(
                found,
                expression=descriptor[EXPRESSION],
                pose=descriptor[POSE],
                gaze=descriptor[GAZE],
                residual=found.residual + person,
            )
            matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
            crop = FaceCrop(pair.clip.rgb(pair.source), pair.clip.landmarks_px[pair.source], matrix)
            picture = animator.render(animator.prepare(crop, coefficients), pair.window_TD[pair.past][None])
            pictures.append(shrunk_picture(picture, size))
        return np.stack(pictures)

    return render
