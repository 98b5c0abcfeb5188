"""Pairs for the animator: windows, shares, and changes of the crop that motion descriptors follow exactly."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.space.coefficients import Coefficients
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.datasets.batch_rng import BatchRng
from train.datasets.face_augmentation import ColourChange, FaceAugmentation, FaceChange
from train.datasets.face_pairs import FacePairs, descriptor_window


@dataclass(frozen=True)
class _CountingClip:
    """Frame t is an image of value t and a descriptor of value t."""

    clip: str
    frames: int
    person: str = "someone"
    split: str = "train"

    @property
    def image_frames(self) -> NDArray[np.int64]:
        return np.arange(self.frames)

    @property
    def descriptors(self) -> NDArray[np.float32]:
        return np.repeat(np.arange(self.frames, dtype=np.float32)[:, None], 72, 1)

    @property
    def landmarks_px(self) -> NDArray[np.float32]:
        return np.full((self.frames, 478, 3), 128, np.float32)

    def rgb(self, frame: int) -> NDArray[np.uint8]:
        return np.full((256, 256, 3), frame, np.uint8)


def _pairs(groups: list[tuple[float, list[_CountingClip]]], hold_share: float = 0.0, size: int = 256) -> FacePairs:
    return FacePairs(
        groups,
        past_frames=3,
        future_frames=1,
        hold_share=hold_share,
        augmentation=FaceAugmentation.none(),
        size=size,
        cache_mib=4,
    )


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


def test_windows_end_at_the_clip_s_edges_and_hold_where_frames_are_no_video() -> None:
    clip = _CountingClip("film", 20)
    assert descriptor_window(clip, 10, 3, 1)[:, 0].tolist() == [7, 8, 9, 10, 11]
    assert descriptor_window(clip, 1, 3, 1)[:, 0].tolist() == [0, 0, 0, 1, 2]
    assert descriptor_window(clip, 19, 3, 1)[:, 0].tolist() == [16, 17, 18, 19, 19]
    assert descriptor_window(clip, 10, 3, 1, hold=True)[:, 0].tolist() == [10] * 5
    assert descriptor_window(_CountingClip("two stills", 2), 1, 3, 1)[:, 0].tolist() == [1] * 5


def test_source_and_target_come_from_one_clip_and_the_window_is_the_target_s() -> None:
    clips = [_CountingClip("a", 30), _CountingClip("b", 60)]
    batch = _pairs([(1.0, clips)]).draw(BatchRng.for_step(0, 0), 32)
    values = ((batch.target_B3HW[:, 0, 128, 128] + 1) * 127.5).round()
    for row, name in enumerate(batch.names):
        clip, _, frames = name.partition(":")
        source, target = map(int, frames.split(">"))
        assert max(source, target) < {"a": 30, "b": 60}[clip]
        assert int(values[row]) == target
        assert int(batch.window_BTD[row, 3, 0]) == target
    assert batch.source_B3HW.min() >= -1
    assert len({name.split(":")[1] for name in batch.names}) > 16


def test_shares_of_a_batch_are_its_rows() -> None:
    pairs = _pairs([(1.0, [_CountingClip("a", 30)])], hold_share=0.5)
    whole = pairs.draw(BatchRng.for_step(1, 5), 8)
    parts = [pairs.draw(BatchRng.for_step(1, 5, index, 4), 8) for index in range(4)]
    assert sum((part.names for part in parts), ()) == whole.names
    for field in ("source_B3HW", "target_B3HW", "window_BTD", "target_landmarks_BN3"):
        assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field))


def test_people_of_a_group_are_drawn_evenly_whatever_number_of_clips_they_have() -> None:
    many = [_CountingClip(f"many-{i}", 9, "many") for i in range(8)]
    pairs = _pairs([(0.25, [*many, _CountingClip("few", 9, "few")]), (0.75, [_CountingClip("other", 9)])], size=8)
    names = pairs.draw(BatchRng.for_step(0, 0), 400).names
    counts = Counter(name.split(":")[0].split("-")[0] for name in names)
    assert counts["other"] / 400 == pytest.approx(0.75, abs=0.07)
    assert counts["many"] / 400 == pytest.approx(0.125, abs=0.06)
    with pytest.raises(ValueError, match="no training clip"):
        _pairs([(1.0, [])])


def test_moving_crops_needs_the_landmark_space() -> None:
    with pytest.raises(ValueError, match="landmark motion space"):
        FacePairs(
            [(1.0, [_CountingClip("a", 9)])],
            past_frames=0,
            future_frames=0,
            augmentation=FaceAugmentation(),
        )


def _faces(model: LandmarkModel, rows: int) -> tuple[Tensor, Tensor]:
    """Random descriptors (rows, 2, 72) of the mean face and its landmarks at the last frame."""
    generator = torch.Generator().manual_seed(3)
    deviation = torch.tensor([0.7] * 64 + [0.2] * 6 + [0.3] * 2)
    window = torch.randn(rows, 2, 72, generator=generator) * deviation
    return window, _landmarks(model, window)


def _landmarks(model: LandmarkModel, window: Tensor) -> Tensor:
    neutral = Coefficients.from_descriptor(np.zeros(72, np.float32))
    return model.landmarks(neutral, window[:, -1])


def test_descriptors_follow_the_crop(model: LandmarkModel) -> None:
    config = FaceAugmentation(mirror=0.5, shift=0.2, scale=0.3, roll_rad=0.6)
    change = FaceChange.draw(torch.Generator().manual_seed(0), 16, config)
    assert 0 < int(change.mirror_B.sum()) < 16
    window, landmarks = _faces(model, 16)
    changed = change.descriptors(window, model.expression_mirror_sign)
    expected = change.landmarks(landmarks)
    assert torch.allclose(_landmarks(model, changed), expected, atol=2e-2)
    unmoved = FaceChange.draw(torch.Generator().manual_seed(0), 16, FaceAugmentation.none())
    assert torch.allclose(unmoved.descriptors(window, model.expression_mirror_sign), window, atol=1e-5)


def test_images_follow_the_landmarks() -> None:
    config = FaceAugmentation(mirror=0.5, shift=0.1, scale=0.2, roll_rad=0.4)
    change = FaceChange.draw(torch.Generator().manual_seed(1), 8, config)
    landmarks = torch.full((8, 478, 3), 128.0)
    landmarks[..., :2] = torch.tensor([100.0, 150.0])
    centres = torch.arange(256) + 0.5
    blob = torch.exp(-((centres - 100)[None] ** 2 + (centres - 150)[:, None] ** 2) / 50)
    moved = change.images(blob.expand(8, 3, -1, -1))[:, 0]
    x = (moved * centres).sum((1, 2)) / moved.sum((1, 2))
    y = (moved * centres[:, None]).sum((1, 2)) / moved.sum((1, 2))
    expected = change.landmarks(landmarks)[:, 0, :2]
    assert torch.allclose(torch.stack([x, y], 1), expected, atol=0.1)


def test_no_colour_change_is_none_and_any_keeps_the_range() -> None:
    rgb = torch.rand(4, 3, 8, 8) * 2 - 1
    none = ColourChange.draw(torch.Generator().manual_seed(0), 4, FaceAugmentation.none())
    assert torch.allclose(none.images(rgb), rgb, atol=1e-6)
    strong = FaceAugmentation(brightness=0.5, contrast=0.9, saturation=0.9, tint=0.5)
    changed = ColourChange.draw(torch.Generator().manual_seed(0), 4, strong).images(rgb)
    assert changed.abs().max() <= 1
    assert (changed - rgb).abs().mean() > 0.05
