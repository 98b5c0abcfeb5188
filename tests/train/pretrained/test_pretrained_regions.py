"""Region masks, the boxes of Eq. 11, the region parser."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.motion.space.landmark_table import INNER_LIPS, LID_LEFT, LID_RIGHT, OUTER_LIPS
from engine.portrait import FaceLandmarker, crop_face
from train.data.faces.synthetic_faces import synthetic_face_clips
from train.pretrained import REGIONS, LandmarkNetwork, RegionParser, lip_eye_mask, region_masks
from train.pretrained.fit_regions import agreement, fit_region_head


@pytest.fixture(scope="module")
def crop(portrait_path: Path) -> tuple[Tensor, Tensor]:
    rgb = np.asarray(Image.open(portrait_path).convert("RGB"))
    landmarker = FaceLandmarker()
    found = crop_face(rgb, landmarker.detect(rgb))
    landmarker.close()
    pixels = torch.from_numpy(found.rgb.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return pixels, torch.from_numpy(found.landmarks_px.copy())[None]


def test_lips_and_eyes_are_boxed(crop: tuple[Tensor, Tensor]) -> None:
    _, points = crop
    mask = lip_eye_mask(points, 256)
    assert mask.shape == (1, 1, 256, 256)
    expected = np.zeros((256, 256))
    for ring in (LID_LEFT, LID_RIGHT, OUTER_LIPS):
        corners = points[0, list(ring), :2].numpy()
        wider = 0.1 * (corners.max(0) - corners.min(0)).max()
        low, high = corners.min(0) - wider, corners.max(0) + wider
        columns = [low[0] <= x + 0.5 <= high[0] for x in range(256)]
        rows = [low[1] <= y + 0.5 <= high[1] for y in range(256)]
        expected[np.ix_(rows, columns)] = 1
    np.testing.assert_array_equal(mask[0, 0].numpy(), expected)
    # Landmarks of the crop, a mask of half its size.
    half = lip_eye_mask(points, 128, crop_px=256)
    torch.testing.assert_close(half.mean(), mask.mean(), atol=0.005, rtol=0)


def test_hard_masks_are_the_filled_rings(crop: tuple[Tensor, Tensor]) -> None:
    _, points = crop
    masks = region_masks(points, 256, softness_px=0)
    assert torch.equal(masks.sum(1), torch.ones(1, 256, 256))
    for name, ring in (("lips", OUTER_LIPS), ("mouth", INNER_LIPS)):
        drawn = np.zeros((256, 256), np.uint8)
        corners = np.rint((points[0, list(ring), :2].numpy() - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(drawn, [corners], 1, shift=8)
        found = masks[0, REGIONS.index(name)].numpy() + (masks[0, -1].numpy() if name == "lips" else 0)
        # OpenCV draws the edge pixels too.
        ring_length = cv2.arcLength(corners.astype(np.float32) / 256, closed=True)
        assert (found > drawn).sum() <= 2
        assert (drawn > found).sum() <= 1.3 * ring_length


def test_soft_masks_sum_to_one_and_reach_the_landmarks(crop: tuple[Tensor, Tensor]) -> None:
    _, points = crop
    points = points.clone().requires_grad_()
    masks = region_masks(points, 64, crop_px=256)
    assert masks.shape == (1, len(REGIONS), 64, 64)
    torch.testing.assert_close(masks.sum(1), torch.ones(1, 64, 64))
    area = masks[0, REGIONS.index("lips")].sum()
    area.backward()
    assert points.grad is not None
    # Lowering the lower lip makes the lips larger; a brow does nothing to them.
    assert points.grad[0, 17, 1] > 0
    assert points.grad[0, 105].abs().sum() == 0


def test_the_parser_sees_the_regions_of_a_face(crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    parser = RegionParser(LandmarkNetwork())
    image = rgb.clone().requires_grad_()
    logits = parser(image)
    assert logits.shape == (1, len(REGIONS), 256, 256)
    truth = region_masks(points, 256, softness_px=0).argmax(1)
    found = logits.argmax(1)
    for name, least in (("background", 0.9), ("skin", 0.75), ("brows", 0.35), ("eyes", 0.4), ("lips", 0.5)):
        one, other = found == REGIONS.index(name), truth == REGIONS.index(name)
        assert (one & other).sum() / (one | other).sum() > least, name
    # Eq. 15 pulls on the pixels themselves.
    torch.nn.functional.cross_entropy(logits, truth).backward()
    assert image.grad is not None
    assert image.grad.abs().amax() > 0
    assert all(p.grad is None for p in parser.parameters())


def test_parsing_loss_grows_when_the_mouth_is_painted_over(crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    parser = RegionParser(LandmarkNetwork())
    painted = rgb.clone()
    x, y = points[0, list(OUTER_LIPS), :2].mean(0).round().int().tolist()
    painted[:, :, y - 14 : y + 14, x - 30 : x + 30] = rgb[:, :, y + 30 : y + 31, x : x + 1]
    target = parser(rgb).argmax(1)
    same, other = (torch.nn.functional.cross_entropy(parser(p), target) for p in (rgb, painted))
    assert other > 1.5 * same


def test_the_head_is_fitted_from_clips_alone() -> None:
    """A few steps on made-up clips already tell background from face; the same seed gives the same head."""
    clips = synthetic_face_clips(clips=2, frames=2)
    heads = [fit_region_head(clips, steps=4, rows=2, rate=0.02) for _ in range(2)]
    for one, other in zip(heads[0].parameters(), heads[1].parameters(), strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad
    scores = agreement(heads[0], clips)
    assert set(scores) <= set(REGIONS)
    assert scores["background"] > 0.5
