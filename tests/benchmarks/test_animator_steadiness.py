"""Jitter, flicker and stillness tell an animator that shakes from one that does not."""

from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor

from benchmarks.animator.steadiness import steadiness_figures
from engine.animator import GeometricAnimator
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces.synthetic_faces import synthetic_face_clips
from train.metrics import image_flicker
from train.tasks.animator_figures import EvaluationPair, Render
from train.tasks.animator_pretrained import PretrainedNetworks
from train.tasks.geometric_baseline import animator_render, unmoved_render

SIZE = 64
CLIP = synthetic_face_clips(clips=1, frames=6)[0]


def _places(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> Tensor:
    """A network that sees the brightest column and shifts the whole face there."""
    column_B = rgb_B3HW.mean((1, 2)).argmax(1)
    return landmarks_BN3 * 0 + column_B[:, None, None] + landmarks_BN3[:1]


PRETRAINED = PretrainedNetworks(landmarks=_places)


def _bar(columns: Sequence[int]) -> np.ndarray:
    images = np.zeros((len(columns), SIZE, SIZE, 3), np.uint8)
    for image, column in zip(images, columns, strict=True):
        image[:, column] = 255
    return images


def _moving(columns: Sequence[int]) -> Render:
    def render(pairs: Sequence[EvaluationPair]) -> np.ndarray:
        return _bar([columns[pair.target] for pair in pairs])

    return render


def _figures(render: Render) -> dict[str, float]:
    return steadiness_figures(render, [CLIP], 6, 0, 0, SIZE, PRETRAINED)


def test_a_shaking_animator_is_told_from_an_even_one() -> None:
    even, shaking = _figures(_moving([10, 12, 14, 16, 18, 20])), _figures(_moving([10, 14, 12, 18, 14, 20]))
    assert even["jitter"] == pytest.approx(0, abs=1e-6)
    assert shaking["jitter"] > 0.1
    assert shaking["flicker"] > 0
    assert even["real_jitter"] == shaking["real_jitter"]
    assert even["still_levels"] == 0


def test_an_animator_that_draws_by_chance_is_not_still() -> None:
    drawn = np.random.default_rng(0)
    figures = _figures(lambda pairs: drawn.integers(0, 255, (len(pairs), SIZE, SIZE, 3)).astype(np.uint8))
    assert figures["still_levels"] > 100


def test_clips_with_missing_images_are_left_out() -> None:
    assert steadiness_figures(unmoved_render(SIZE), [CLIP], 7, 0, 0, SIZE, PRETRAINED) == {}


def test_a_fade_and_a_still_video_do_not_flicker() -> None:
    fade = [np.full((4, 4, 3), 20 * step, np.uint8) for step in range(6)]
    assert image_flicker(fade) == 0
    assert image_flicker(fade[:2]) == 0
    assert image_flicker([fade[0], fade[5], fade[0]]) == 200


def test_the_geometric_animator_is_still_and_shows_the_source_at_its_own_motion() -> None:
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    render = animator_render(GeometricAnimator(model), model, 256)
    pair = EvaluationPair(CLIP, 0, 0, 2, 1)  # a longer reach than the animator's
    first, again = render([pair, pair])
    np.testing.assert_array_equal(first, again)
    source = unmoved_render(256)([pair])[0]
    assert np.abs(first.astype(int) - source).mean() < 12
