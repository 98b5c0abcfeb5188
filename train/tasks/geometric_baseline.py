"""Renders evaluation pairs by any animator of the engine, for comparison with the trained network."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.animator import GeometricAnimator
from engine.animator.interface import Animator
from engine.motion.space.coefficients import EXPRESSION, GAZE, POSE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceCrop
from train.data.faces.face_clips import FaceClip
from train.images import shrink
from train.tasks.animator_figures import EvaluationPair, Render


def geometric_render(model: LandmarkModel, size: int) -> Render:
    """`animator_render` of the geometric animator: what has to be beaten."""
    return animator_render(GeometricAnimator(model), model, size)


def animator_render(animator: Animator, model: LandmarkModel, size: int) -> Render:
    """Images of ``size`` px of pairs, by an animator with the reach of the pairs' windows or less."""
    portraits: dict[tuple[str, int], Any] = {}

    def prepared(clip: FaceClip, source: int) -> Any:
        matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
        crop = FaceCrop(clip.rgb(source), clip.landmarks_px[source], matrix)
        return animator.prepare(crop, source_coefficients(model, clip, source))

    def render(pairs: Sequence[EvaluationPair]) -> NDArray[np.uint8]:
        images = []
        for pair in pairs:
            name = (pair.clip.clip, pair.source)
            if name not in portraits:
                portraits[name] = prepared(pair.clip, pair.source)
            first, end = pair.past - animator.past_frames, pair.past + 1 + animator.future_frames
            images.append(animator.render(portraits[name], pair.window_TD[first:end]))
        return np.stack([shrink(image, size) for image in images])

    return render


def unmoved_render(size: int) -> Render:
    """The source as it is: the floor under every figure."""
    return lambda pairs: np.stack([shrink(pair.clip.rgb(pair.source), size) for pair in pairs])


def source_coefficients(model: LandmarkModel, clip: FaceClip, source: int) -> Coefficients:
    """Coefficients of a clip's frame as a portrait.

    The expression is taken from the clip, as its motion is: a clip's expressions count from its own neutral, and what
    the source's landmarks say beside that is the person.
    """
    descriptor, landmarks_px = clip.descriptors[source], clip.landmarks_px[source]
    found = model.fit(landmarks_px)
    person = np.tensordot(found.expression - descriptor[EXPRESSION], model.expression_basis.numpy(), 1)
    return dataclasses.replace(
        found,
        expression=descriptor[EXPRESSION],
        pose=descriptor[POSE],
        gaze=descriptor[GAZE],
        residual=found.residual + person,
    )
