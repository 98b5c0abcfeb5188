"""Regions of the face from landmarks: the weighted mask of Eq. 11, and soft region masks.

    background | skin: the face oval | brows | eyes | nose | lips: between outer and inner ring | mouth: inside

Later regions lie on earlier ones. Shape suffixes: B rows, N landmarks or corners, K regions, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from engine.motion.space.landmark_table import FACE_OVAL, INNER_LIPS, LID_LEFT, LID_RIGHT, MIRROR, OUTER_LIPS

REGIONS: Final = ("background", "skin", "brows", "eyes", "nose", "lips", "mouth")

_BROW_LEFT: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_NOSE_LEFT: Final = (168, 193, 245, 188, 174, 217, 198, 49, 64, 98, 97, 2)
"""From the bridge down the image-left side to the middle below the nose."""


def _mirrored(ring: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(MIRROR[index]) for index in ring)


_NOSE: Final = (*_NOSE_LEFT, *reversed(_mirrored(_NOSE_LEFT[1:-1])))
_RINGS: Final = (
    ("skin", FACE_OVAL),
    ("brows", _BROW_LEFT),
    ("brows", _mirrored(_BROW_LEFT)),
    ("nose", _NOSE),
    ("eyes", LID_LEFT),
    ("eyes", LID_RIGHT),
    ("lips", OUTER_LIPS),
    ("mouth", INNER_LIPS),
)
"""From the bottom to the top."""


def lip_eye_mask(
    landmarks_px_BN3: Tensor, size_px: int, *, margin: float = 0.1, crop_px: float | None = None
) -> Tensor:
    """M_lip&eye of Eq. 11 before its weight: boxes around both eyes and the lips, (B, 1, size, size) of 0 and 1.

    Args:
        landmarks_px_BN3: (B, 478, 2 or 3).
        margin: what a box is widened by on each side, as a share of its longer side.
        crop_px: size of the image that the landmarks are of, if not ``size_px``.
    """
    points = landmarks_px_BN3[..., :2].detach() * (size_px / (crop_px or size_px))
    middles = torch.arange(size_px, device=points.device, dtype=points.dtype) + 0.5
    mask = torch.zeros(len(points), size_px, size_px, device=points.device, dtype=torch.bool)
    for ring in (LID_LEFT, LID_RIGHT, OUTER_LIPS):
        low, high = points[:, list(ring)].amin(1), points[:, list(ring)].amax(1)
        wider = (high - low).amax(1, keepdim=True) * margin
        inside = (middles >= (low - wider)[..., None]) & (middles <= (high + wider)[..., None])
        mask |= inside[:, 1, :, None] & inside[:, 0, None, :]
    return mask[:, None].to(points.dtype)


def region_masks(
    landmarks_px_BN3: Tensor, size_px: int, *, softness_px: float = 1.0, crop_px: float | None = None
) -> Tensor:
    """Share of each region of `REGIONS` in every pixel, (B, 7, size, size), summing to 1.

    Edges are sigmoids of the signed distance to the region's ring, so that gradients reach the landmarks.

    Args:
        softness_px: how wide an edge is; 0 gives masks of 0 and 1 without a gradient.
        crop_px: as in `lip_eye_mask`.
    """
    points = landmarks_px_BN3[..., :2] * (size_px / (crop_px or size_px))
    layers = {"background": points.new_ones(len(points), size_px, size_px)}
    for name, ring in _RINGS:
        distance = _signed_distance(points[:, list(ring)], size_px)
        inside = (distance < 0).to(points.dtype) if softness_px <= 0 else torch.sigmoid(-distance / softness_px)
        layers = {below: share * (1 - inside) for below, share in layers.items()}
        layers[name] = layers[name] + inside if name in layers else inside
    return torch.stack([layers[name] for name in REGIONS], 1)


def _signed_distance(ring_BN2: Tensor, size_px: int) -> Tensor:
    """Distance of pixel middles to closed rings, (B, size, size), negative inside."""
    middles = torch.arange(size_px, device=ring_BN2.device, dtype=ring_BN2.dtype) + 0.5
    x_HW, y_HW = middles[None, :], middles[:, None]
    nearest: Tensor | None = None
    inside = torch.zeros(len(ring_BN2), size_px, size_px, device=ring_BN2.device, dtype=torch.bool)
    for start, end in zip(ring_BN2.unbind(1), ring_BN2.roll(-1, 1).unbind(1), strict=True):
        ax, ay = start[:, 0, None, None], start[:, 1, None, None]
        bx, by = end[:, 0, None, None], end[:, 1, None, None]
        length = ((bx - ax).square() + (by - ay).square()).clamp(min=1e-9)
        along = (((x_HW - ax) * (bx - ax) + (y_HW - ay) * (by - ay)) / length).clamp(0, 1)
        squared = (x_HW - ax - along * (bx - ax)).square() + (y_HW - ay - along * (by - ay)).square()
        nearest = squared if nearest is None else torch.minimum(nearest, squared)
        # A ray to the right crosses the edge: an odd number of crossings is inside.
        crosses = (ay > y_HW) != (by > y_HW)
        steep = torch.where(by == ay, torch.ones_like(by), by - ay)
        inside ^= crosses & (x_HW < ax + (y_HW - ay) * (bx - ax) / steep)
    assert nearest is not None, "a ring has corners"
    distance = (nearest + 1e-12).sqrt()
    return torch.where(inside, -distance, distance)
