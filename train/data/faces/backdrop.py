"""Another background behind a portrait that was taken before a plain one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]

_PATCH_SHARE = 0.09
_PLAIN_DEVIATION = 7.0
_CORNERS_APART = 24.0
_NEAR = 14.0
_SIDE_SHARE = 0.7
_LEAST_SHARE = 0.08


def replace_plain_background(
    rgb: ImageArray, landmarks_px: NDArray[np.floating], rng: np.random.Generator
) -> ImageArray:
    """Picture (S,S,3) uint8 with a random soft background; the same image where its own is not plain.

    Args:
        landmarks_px: (478,3) crop px; the face is never taken for background.
    """
    share = plain_background(rgb, landmarks_px)
    if share is None:
        return rgb
    size = rgb.shape[0]
    grey = rng.uniform(25, 225) + rng.normal(0, rng.uniform(5, 40), (5, 5, 1))
    coarse = grey + rng.normal(0, 18, 3) + rng.normal(0, rng.uniform(0, 12), (5, 5, 3))
    backdrop = cv2.resize(coarse.clip(0, 255).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    mixed = rgb * (1 - share[..., None]) + backdrop * share[..., None]
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def plain_background(rgb: ImageArray, landmarks_px: NDArray[np.floating]) -> FloatArray | None:
    """How much of each pixel is background, float32 (S,S) in [0,1]; None where the background is not plain.

    Plain means: both upper corners are even and alike. Background is what has their colour and hangs together with
    the picture's upper edges.
    """
    size = rgb.shape[0]
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    patch = max(4, round(_PATCH_SHARE * size))
    corners = [lab[:patch, :patch].reshape(-1, 3), lab[:patch, -patch:].reshape(-1, 3)]
    colours = [np.median(corner, 0) for corner in corners]
    uneven = max(float(np.sqrt(((c - m) ** 2).sum(1).mean())) for c, m in zip(corners, colours, strict=True))
    if uneven > _PLAIN_DEVIATION or float(np.linalg.norm(colours[0] - colours[1])) > _CORNERS_APART:
        return None
    ramp = np.linspace(0, 1, size, dtype=np.float32)[None, :, None]
    expected = colours[0] * (1 - ramp) + colours[1] * ramp
    near = (np.linalg.norm(lab - expected, axis=2) < _NEAR).astype(np.uint8)
    near[_face(landmarks_px, size)] = 0
    _, labels = cv2.connectedComponents(near, connectivity=4)
    rows = round(_SIDE_SHARE * size)
    edge = np.concatenate([labels[0], labels[:rows, 0], labels[:rows, -1]])
    found = np.isin(labels, edge[edge > 0]).astype(np.float32)
    if found.mean() < _LEAST_SHARE:
        return None
    # A step inwards, so that no rim of the old background stays.
    grown = cv2.dilate(found, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), 1.2).clip(0, 1), np.float32)


def _face(landmarks_px: NDArray[np.floating], size: int) -> NDArray[np.bool_]:
    hull = cv2.convexHull(np.round(landmarks_px[:, :2]).astype(np.int32))
    return np.asarray(cv2.fillConvexPoly(np.zeros((size, size), np.uint8), hull, 1), np.bool_)
