"""PSNR, structural similarity and perceptual distance of images against their definitions."""

import numpy as np
import pytest
import torch

from train.metrics import image_similarity, peak_signal_to_noise_db, perceptual_distance


def _image(seed: int, size: tuple[int, int] = (15, 14)) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def test_psnr_of_a_known_error() -> None:
    real = np.full((8, 8, 3), 100, np.uint8)
    assert peak_signal_to_noise_db(real + np.uint8(5), real) == pytest.approx(20 * np.log10(255 / 5))
    assert peak_signal_to_noise_db(real, real) == float("inf")


def test_image_similarity_equals_a_loop_over_windows() -> None:
    a, b = _image(0), _image(1)
    luma_a, luma_b = a @ [0.299, 0.587, 0.114], b @ [0.299, 0.587, 0.114]
    place = np.arange(11) - 5
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    window /= window.sum()
    scores = []
    for row in range(5):
        for column in range(4):
            x, y = (p[row : row + 11, column : column + 11] for p in (luma_a, luma_b))
            mean_x, mean_y = (window * x).sum(), (window * y).sum()
            variance_x, variance_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
            covariance = (window * (x - mean_x) * (y - mean_y)).sum()
            scores.append(
                (2 * mean_x * mean_y + 2.55**2)
                * (2 * covariance + 7.65**2)
                / ((mean_x**2 + mean_y**2 + 2.55**2) * (variance_x + variance_y + 7.65**2))
            )
    assert image_similarity(a, b) == pytest.approx(np.mean(scores), abs=1e-9)
    assert image_similarity(a, a) == pytest.approx(1)


def test_images_of_two_shapes_or_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        peak_signal_to_noise_db(_image(0), _image(0, (15, 15)))
    with pytest.raises(ValueError, match="at least 11"):
        image_similarity(_image(0, (10, 20)), _image(1, (10, 20)))


def test_perceptual_distance_by_hand_and_without_regard_to_scale() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    a = [east.view(1, 2, 1, 1).expand(1, 2, 3, 3), east.view(1, 2, 1, 1).expand(1, 2, 2, 2)]
    b = [4 * a[0], north.view(1, 2, 1, 1).expand(1, 2, 2, 2)]
    assert perceptual_distance(a, b).tolist() == pytest.approx([1.0])
    assert perceptual_distance(a, a).tolist() == [0.0]
