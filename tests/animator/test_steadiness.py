"""No animator trembles: the same motion gives the same bytes, and a slow motion has no jumps."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from engine import load_engine
from engine.animator import FaceAnimatorNetwork, NeuralAnimator
from engine.assets import PORTRAIT
from engine.motion.space.coefficients import EXPRESSION, GAZE, POSE
from engine.portrait import FaceCrop
from tests.animator.neural_cases import SMALL
from tests.random_weights import randomise_weights

Show = Callable[[np.ndarray], np.ndarray]
"""Image of a descriptor (72,) that has been held for as long as the animator looks back and ahead."""

_STEPS = 16


@pytest.fixture(scope="module", params=["bundled", "geometric", "drawn"])
def shown(request: pytest.FixtureRequest) -> tuple[Show, np.ndarray]:
    """An animator with the demo portrait, and the portrait's own descriptor."""
    engine = load_engine(backend="geometric" if request.param == "geometric" else "auto")
    avatar = engine.enroll(PORTRAIT)
    own = avatar.coefficients.descriptor
    if request.param != "drawn":
        return lambda descriptor: engine.animator.render(avatar.prepared, descriptor[None]), own
    network = FaceAnimatorNetwork(SMALL)
    randomise_weights(network)
    animator = NeuralAnimator(network)
    size = SMALL.image_size
    step = len(avatar.crop.rgb) // size
    small = FaceCrop(avatar.crop.rgb[::step, ::step], avatar.crop.landmarks_px, avatar.crop.matrix)
    prepared = animator.prepare(small, avatar.coefficients)
    frames = SMALL.window_frames
    return lambda descriptor: animator.render(prepared, np.repeat(descriptor[None], frames, 0)), own


def test_a_still_motion_gives_a_still_image(shown: tuple[Show, np.ndarray]) -> None:
    show, own = shown
    other = own.copy()
    other[POSE] += 0.1
    other[GAZE] = 0.2, -0.3
    first = show(own)
    for between in (own, other, other, own):  # nothing is remembered from one frame to the next
        show(between)
        np.testing.assert_array_equal(show(own), first)
    assert (show(other) != first).any()


@pytest.mark.parametrize("part", ["turn", "gaze", "mouth"])
def test_a_slow_motion_has_no_jumps(shown: tuple[Show, np.ndarray], part: str) -> None:
    show, own = shown
    video = []
    for share in np.linspace(0, 1, _STEPS):
        descriptor = own.copy()
        if part == "turn":
            descriptor[POSE][1] += 0.25 * share
        elif part == "gaze":
            descriptor[GAZE] = 0.0, 0.6 * share
        else:
            descriptor[EXPRESSION][:4] += 2.0 * share
        video.append(show(descriptor).astype(np.int16))
    steps = np.array([np.abs(after - before).mean() for before, after in itertools.pairwise(video)])
    whole = np.abs(video[-1] - video[0]).mean()
    print(part, "largest step over mean step", steps.max() / steps.mean(), "whole", whole)
    assert whole > 0.02
    assert steps.max() <= 2.5 * steps.mean()


def test_a_tremble_in_the_motion_is_not_made_larger(shown: tuple[Show, np.ndarray]) -> None:
    show, own = shown
    drawn = np.random.default_rng(0)
    still = show(own).astype(np.int16)
    changes = []
    for size in (1e-3, 1e-2):
        noise = size * drawn.normal(size=(6, 72)).astype(np.float32)
        changes.append(np.mean([np.abs(show(own + row) - still).mean() for row in noise]))
    print("mean change", changes)
    assert changes[0] < 1  # of 255 levels, a fifth of what heads move between two frames of speech
    assert changes[0] <= 0.35 * changes[1]
