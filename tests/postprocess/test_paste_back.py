"""The whole portrait with the moving head in it: where it should be, and without a visible border."""

import numpy as np
import pytest

from engine.portrait import FaceCrop
from engine.postprocess import PasteBack


def scene(height: int, width: int) -> np.ndarray:
    """A smooth image whose colours tell the place."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], 2).astype(np.uint8)


def crop_at(left: float, top: float, side: float, image: np.ndarray, size: int = 256) -> FaceCrop:
    scale = size / side
    middles = (np.arange(size) + 0.5) / scale
    rows = np.clip(top + middles, 0, image.shape[0] - 1).astype(int)
    columns = np.clip(left + middles, 0, image.shape[1] - 1).astype(int)
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)
    return FaceCrop(image[rows[:, None], columns], np.zeros((478, 3), np.float32), matrix)


@pytest.mark.parametrize(
    ("image", "place"),
    [((600, 900), (250, 100, 300)), ((500, 500), (-20, -30, 540)), ((300, 240), (10, 0, 220))],
)
def test_a_head_that_did_not_move_gives_the_portrait(image: tuple[int, int], place: tuple[int, int, int]) -> None:
    portrait = scene(*image)
    crop = crop_at(*place, portrait)
    paste = PasteBack(portrait, crop)
    whole = paste.apply(crop.rgb)
    assert whole.shape == (*paste.size, 3)
    still = PasteBack(portrait, crop)._still
    assert np.abs(whole.astype(int) - still).max() <= 4


def test_outside_the_crop_nothing_moves_and_inside_the_head_is_seen() -> None:
    portrait = scene(600, 900)
    crop = crop_at(250, 100, 256, portrait)
    paste = PasteBack(portrait, crop)
    assert paste.size == (600, 900)
    white = paste.apply(np.full((256, 256, 3), 255, np.uint8))
    outside = np.ones((600, 900), bool)
    outside[100:356, 250:506] = False
    assert (white[outside] == portrait[outside]).all()
    assert (white[160:296, 310:446] == 255).all()
    # The seam rises from one to the other without a step.
    profile = white[228, 250:300, 2].astype(int)
    assert (np.diff(profile) >= 0).all()
    assert np.diff(profile).max() < 10


def test_where_the_portrait_ends_there_is_no_seam() -> None:
    portrait = scene(400, 400)
    paste = PasteBack(portrait, crop_at(-10, -10, 420, portrait))
    assert (paste.apply(np.full((256, 256, 3), 255, np.uint8)) == 255).all()


def test_large_portraits_are_made_small_enough_and_even() -> None:
    portrait = scene(1501, 3001)
    size = PasteBack(portrait, crop_at(1000, 200, 900, portrait)).size
    assert size == (640, 1280)
    head = PasteBack(portrait, crop_at(0, 0, 1500, portrait)).size
    assert head == (384, 768)
