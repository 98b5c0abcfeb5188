"""Likeness of images: PSNR, structural similarity, perceptual distance."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA = np.array([0.299, 0.587, 0.114])

Image = NDArray[np.uint8]


def peak_signal_to_noise_db(generated: Image, real: Image) -> float:
    """10 log10(255^2 / mean squared error) of two uint8 images of one shape; infinite for equal ones."""
    _check(generated, real)
    error = np.square(generated.astype(np.float64) - real.astype(np.float64)).mean()
    return float(10 * np.log10(255**2 / error)) if error > 0 else float("inf")


def image_similarity(generated: Image, real: Image) -> float:
    """SSIM of Wang et al. 2004 on luma: 11 x 11 Gaussian window of 1.5 px, averaged where it lies in the image.

    Args:
        generated, real: uint8 (H, W, 3), H and W at least 11.
    """
    _check(generated, real)
    if min(real.shape[:2]) < _WINDOW:
        raise ValueError(f"images must measure at least {_WINDOW} px, not {real.shape[:2]}")
    a, b = generated @ _LUMA, real @ _LUMA
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance_a = _windowed(a * a) - mean_a**2
    variance_b = _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)) / (
        (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    )
    return float(similarity.mean())


def perceptual_distance(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Distance of feature maps in the form of Zhang et al. 2018, Eq. 1, with all channel weights 1.

    Each place's feature vector is scaled to length 1; squared differences are summed over channels, averaged over
    places and layers.

    Args:
        generated, real: the same layers of two batches of images, (B, C_l, H_l, W_l) each.

    Returns:
        (B,), 0 for equal features.
    """
    distances = [
        (functional.normalize(a, dim=1) - functional.normalize(b, dim=1)).square().sum(1).mean((1, 2))
        for a, b in zip(generated, real, strict=True)
    ]
    return sum(distances[1:], distances[0]) / len(distances)


def image_flicker(images: Sequence[Image]) -> float:
    """Mean size of the second difference over time, in levels of 255: 0 for a still video and for an even fade.

    Args:
        images: uint8 (H, W, 3) of consecutive frames; fewer than three have none.
    """
    if len(images) < 3:
        return 0.0
    bends = [
        np.abs(before.astype(np.int16) - 2 * shown.astype(np.int16) + after).mean()
        for before, shown, after in zip(images, images[1:], images[2:], strict=False)
    ]
    return float(np.mean(bends))


def _check(generated: Image, real: Image) -> None:
    if generated.shape != real.shape:
        raise ValueError(f"images must have one shape, not {generated.shape} and {real.shape}")


def _windowed(image: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred = cv2.GaussianBlur(image, (_WINDOW, _WINDOW), _SIGMA)
    reach = _WINDOW // 2
    return np.asarray(blurred[reach:-reach, reach:-reach])
