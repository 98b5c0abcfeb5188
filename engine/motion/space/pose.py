"""Head pose: rotation vectors, similarity alignment, projection into the crop.

Axes: x right, y down, z away from the camera. A pose p is (..., 6) = [rx, ry, rz | tx, ty, tz]:

    landmarks_px = scale * R(r) @ shape + translation_px
    tx, ty = (translation_px - crop / 2) / (crop / 2)        [-1, 1] spans the crop
    tz     = log(scale / (0.35 * crop))                      scale in px per face unit

With these axes rx > 0 lowers the nose (looks down), ry > 0 turns it to the image left, and rz > 0 rolls clockwise as
seen. The projection is weak-perspective, which is what MediaPipe's landmarks are.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REFERENCE_SCALE: Final = 0.35
"""Size of the face unit, as a share of the crop, at tz = 0."""

_Array = NDArray[np.float64]


def rotation_vector_to_matrix(rotation_vector: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) radians -> (..., 3, 3). Differentiable, at zero too."""
    x, y, z = rotation_vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    squared = (rotation_vector * rotation_vector).sum(-1)[..., None, None]
    small = squared < 1e-6
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    first = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - torch.cos(angle)) / angle**2)
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    rotation: Tensor = identity + first * cross + second * (cross @ cross)
    return rotation


def matrix_to_rotation_vector(rotation: NDArray[np.floating]) -> _Array:
    """(..., 3, 3) -> (..., 3) radians; for angles below pi, as heads have."""
    r = np.asarray(rotation, np.float64)
    axis = 0.5 * np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], -1)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    cosine = 0.5 * (np.trace(r, axis1=-2, axis2=-1) - 1)[..., None]
    angle = np.arctan2(sine, cosine)
    return np.asarray(axis * np.where(sine < 1e-9, 1.0, angle / np.maximum(sine, 1e-9)))


def align_similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[_Array, _Array, _Array]:
    """Scale, rotation and translation that bring ``source`` nearest to ``target`` (Umeyama 1991).

    Args:
        source, target: (n, 3) or (T, n, 3) each; T is 1 where neither has it.

    Returns:
        scale (T,), rotation (T, 3, 3) and translation (T, 3) with target = scale * rotation @ source + translation in
        the least squares sense.
    """
    a, b = np.broadcast_arrays(np.asarray(source, np.float64), np.asarray(target, np.float64))
    a, b = a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])
    mean_a, mean_b = a.mean(1), b.mean(1)
    a, b = a - mean_a[:, None], b - mean_b[:, None]
    u, singular, vt = np.linalg.svd(b.swapaxes(1, 2) @ a)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (singular * sign).sum(1) / np.maximum((a * a).sum((1, 2)), 1e-12)
    translation = mean_b - scale[:, None] * np.einsum("tij,tj->ti", rotation, mean_a)
    return scale, rotation, translation


def pose_from_similarity(
    scale: NDArray[np.floating],
    rotation: NDArray[np.floating],
    translation: NDArray[np.floating],
    crop_size: float,
) -> NDArray[np.float32]:
    """Pose (T, 6) of scale (T,), rotation (T, 3, 3) and translation (T, 3) px; the depth of translation is dropped."""
    vector = matrix_to_rotation_vector(rotation)
    half = crop_size / 2
    shift = (np.asarray(translation)[:, :2] - half) / half
    depth = np.log(np.asarray(scale) / (REFERENCE_SCALE * crop_size))[:, None]
    return np.concatenate([vector, shift, depth], 1).astype(np.float32)


def similarity_from_pose(pose: Tensor, crop_size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (...,) px per face unit, rotation (..., 3, 3) and translation (..., 3) px of a pose (..., 6)."""
    half = crop_size / 2
    scale = REFERENCE_SCALE * crop_size * torch.exp(pose[..., 5])
    shift = pose[..., 3:5] * half + half
    translation = torch.cat([shift, torch.zeros_like(shift[..., :1])], -1)
    return scale, rotation_vector_to_matrix(pose[..., :3]), translation


def project(shape: Tensor, pose: Tensor, crop_size: float = 256) -> Tensor:
    """Weak-perspective projection: shape (..., N, 3) in face units, pose (..., 6) -> (..., N, 3) px."""
    scale, rotation, translation = similarity_from_pose(pose, crop_size)
    turned = shape @ rotation.transpose(-1, -2)
    return scale[..., None, None] * turned + translation[..., None, :]
