"""Training mouths brought to one habit of opening."""

import dataclasses

import numpy as np
import pytest
import torch

from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.speech.synthetic import synthetic_clips
from train.data.storage.shards import ClipFeatures
from train.datasets.mouth_range import even_mouths
from train.metrics.mouth import mouth_opening


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


@pytest.fixture
def clips(model: LandmarkModel) -> list[ClipFeatures]:
    """People who articulate narrowly and widely; the last is held out."""
    clips = synthetic_clips(model, people=4)
    return [
        dataclasses.replace(clip, expression=(scale * clip.expression).astype(np.float32))
        for clip, scale in zip(clips, (0.5, 1.0, 2.0, 3.0), strict=True)
    ]


def _opening(model: LandmarkModel, clip: ClipFeatures) -> np.ndarray:  # type: ignore[type-arg]
    return mouth_opening(model, torch.from_numpy(clip.expression)).numpy()


def test_all_training_mouths_get_one_mean_and_spread(model: LandmarkModel, clips: list[ClipFeatures]) -> None:
    evened = even_mouths(clips, model, 1.0)
    openings = [_opening(model, clip) for clip in evened[:3]]
    middle = _opening(model, clips[1])
    assert [o.mean() for o in openings] == pytest.approx([middle.mean()] * 3, abs=1e-4)
    assert [o.std() for o in openings] == pytest.approx([middle.std()] * 3, rel=1e-3)
    for before, after in zip(clips, evened, strict=True):
        assert np.corrcoef(_opening(model, before), _opening(model, after))[0, 1] > 0.999


def test_half_the_way(model: LandmarkModel, clips: list[ClipFeatures]) -> None:
    widest, middle = _opening(model, clips[2]).std(), _opening(model, clips[1]).std()
    half = _opening(model, even_mouths(clips, model, 0.5)[2]).std()
    assert half == pytest.approx(np.sqrt(widest * middle), rel=1e-3)


def test_eyes_hardly_move(model: LandmarkModel, clips: list[ClipFeatures]) -> None:
    evened = even_mouths(clips, model, 1.0)[2]
    before, after = (model.eye_feature(torch.from_numpy(c.expression)) for c in (clips[2], evened))
    assert float((before - after)[:, 0].abs().max()) < 0.1


def test_held_out_people_and_amount_0_change_nothing(model: LandmarkModel, clips: list[ClipFeatures]) -> None:
    assert even_mouths(clips, model, 1.0)[3] is clips[3]
    assert all(a is b for a, b in zip(even_mouths(clips, model, 0.0), clips, strict=True))
