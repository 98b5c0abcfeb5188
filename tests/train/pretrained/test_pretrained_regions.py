"""The boxes of Eq. 11 and the region parser."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.motion.space.landmark_table import FACE_OVAL, INNER_LIPS, LID_LEFT, LID_RIGHT, MIRROR, OUTER_LIPS
from engine.portrait import FaceLandmarker, crop_face
from train.pretrained import REGIONS, LandmarkNetwork, RegionParser, lip_eye_mask

_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)


@pytest.fixture(scope="module")
def crop(portrait_path: Path) -> tuple[Tensor, Tensor]:
    rgb = np.asarray(Image.open(portrait_path).convert("RGB"))
    landmarker = FaceLandmarker()
    found = crop_face(rgb, landmarker.detect(rgb))
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


def _filled_regions(points: Tensor) -> Tensor:
    """Region of every pixel, (1, 256, 256), by OpenCV's polygons."""
    drawn = np.zeros((256, 256), np.uint8)
    mirrored = [int(MIRROR[index]) for index in _BROW]
    for name, ring in (
        ("skin", FACE_OVAL), ("brows", _BROW), ("brows", mirrored), ("eyes", LID_LEFT), ("eyes", LID_RIGHT),
        ("lips", OUTER_LIPS), ("mouth", INNER_LIPS),
    ):  # fmt: skip
        corners = np.rint((points[0, list(ring), :2].numpy() - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(drawn, [corners], REGIONS.index(name), shift=8)
    return torch.from_numpy(drawn).long()[None]


def test_the_parser_sees_the_regions_of_a_face(crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    parser = RegionParser(LandmarkNetwork())
    image = rgb.clone().requires_grad_()
    logits = parser(image)
    assert logits.shape == (1, len(REGIONS), 256, 256)
    truth = _filled_regions(points)
    found = logits.argmax(1)
    for name, least in (("background", 0.9), ("skin", 0.7), ("brows", 0.35), ("eyes", 0.4), ("lips", 0.5)):
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
