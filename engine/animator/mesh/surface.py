r"""The portrait as one closed mesh: the face, and rays of points from its outline to the border of the crop.

border o . . o . . o      border points never move: the background stays still
       .\    |    /.
       . o   o   o .      points on the rays ride with the skull, less and less towards the border
       .  \  |  /  .
       o--o face o-o      face points are the landmarks
"""

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import smooth_step
from engine.animator.mesh.topology import EYES, FACE_OVAL, FACE_POINTS, FACE_TRIANGLES, LASH_VERTICES

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RAYS_FROM = FACE_POINTS + LASH_VERTICES
# How far from the lid's contour to the fold above it the lashes' row lies: about as long as lashes are.
_LASH_SHARE = 0.3
# Places along a ray, as shares of its length: denser near the face, where hair and neck must bend.
_RAY_STEPS = (0.12, 0.28, 0.48, 0.72, 1.0)
_EARS = np.array([127, 234, 93, 356, 454, 323])


class Surface(NamedTuple):
    """The part of a `Rig` that says what vertices there are and how those around the face move; see there.

    Coordinates are float64 here.
    """

    source_px: Float64Array
    triangles: IntArray
    ray_follow_skull: Float64Array
    ray_follow_outline: Float64Array
    ray_depth_px: Float64Array
    skull_centre_px: Float64Array


def build_surface(landmarks_px: npt.NDArray[np.floating], size_px: int) -> Surface:
    """Surface of a crop whose landmarks (478, 3) are given in its pixels."""
    face = np.asarray(landmarks_px[:FACE_POINTS], dtype=np.float64)
    outline = face[FACE_OVAL, :2]
    top_px = face[10, :2]
    chin_px = face[152, :2]
    centre = 0.5 * (top_px + chin_px)
    radius_px = float(np.linalg.norm(chin_px - top_px)) / 2
    direction = outline - centre
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    reach = _distance_to_border(outline, direction, size_px)
    steps = np.array(_RAY_STEPS)[:, None]
    distance = steps * reach
    rays = outline + distance[..., None] * direction

    # 1 for rays that run down the neck, 0 for the rest of the head.
    down = (chin_px - top_px) / (2 * radius_px)
    neck = smooth_step((direction @ down - 0.45) / 0.4)
    rigid_px = radius_px * (0.30 - 0.22 * neck)
    fade = 1.0 - smooth_step((distance - rigid_px) / np.maximum(reach - rigid_px, 0.25 * reach + 1e-6))
    fade *= 1.0 - 0.35 * neck * smooth_step(distance / (0.5 * radius_px))
    fade[-1] = 0.0
    towards_skull = smooth_step(distance / (0.32 * radius_px))
    follow_skull = fade * towards_skull * (1.0 - 0.5 * neck)
    follow_outline = fade * (1.0 - towards_skull) * (1.0 - 0.25 * neck)

    lashes = [(1.0 - _LASH_SHARE) * face[eye.upper[1:-1], :2] + _LASH_SHARE * face[eye.crease, :2] for eye in EYES]
    ear_depth = float(face[_EARS, 2].mean())
    skull = np.array([face[_EARS, 0].mean(), face[_EARS, 1].mean(), ear_depth])
    ray_depth = face[:, 2].max() + radius_px * np.broadcast_to(2.0 + steps, distance.shape)
    return Surface(
        source_px=np.concatenate([face[:, :2], *lashes, rays.reshape(-1, 2)]),
        triangles=np.concatenate([FACE_TRIANGLES, _ray_triangles(len(_RAY_STEPS))]),
        ray_follow_skull=follow_skull.reshape(-1),
        ray_follow_outline=follow_outline.reshape(-1),
        ray_depth_px=ray_depth.reshape(-1),
        skull_centre_px=skull,
    )


def _ray_triangles(steps: int) -> IntArray:
    """Two triangles for each cell between neighbouring rays, from the outline outwards."""
    count = len(FACE_OVAL)
    rings = [FACE_OVAL] + [_RAYS_FROM + count * k + np.arange(count) for k in range(steps)]
    triangles = []
    for inner, outer in itertools.pairwise(rings):
        inner_next, outer_next = np.roll(inner, -1), np.roll(outer, -1)
        triangles.append(np.stack([inner, outer, outer_next], axis=1))
        triangles.append(np.stack([inner, outer_next, inner_next], axis=1))
    return np.concatenate(triangles)


def _distance_to_border(start: Float64Array, direction: Float64Array, size_px: int) -> Float64Array:
    """Length of each ray from ``start`` (N, 2) to the outermost pixel centres; 0 if it starts outside."""
    limit = size_px - 1.0
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    reach = np.where(safe > 0, (limit - start) / safe, -start / safe)
    return np.asarray(np.maximum(reach.min(axis=1), 0.0))
