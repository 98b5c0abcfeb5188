r"""The portrait as one closed mesh: the face, and rays of points from its outline to the border of the crop.

border o . . o . . o      border points never move: the background stays still
       .\    |    /.
       . o   o   o .      points on the rays ride with the skull, less and less towards the border
       .  \  |  /  .
       o--o face o-o      face points are the landmarks
"""

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import smooth_step
from engine.animator.mesh.head_motion import HeadMotion
from engine.animator.mesh.raster import draw_source_map
from engine.animator.mesh.topology import EYES, FACE_OVAL, FACE_POINTS, FACE_TRIANGLES, LASH_VERTICES

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_RAYS_FROM = FACE_POINTS + LASH_VERTICES
# How far from the lid's contour to the fold above it the lashes' row lies: about as long as lashes are.
_LASH_SHARE = 0.3
# Of the stretch that a closing lid puts on the band below its fold, this much is passed on to the fold: with nothing
# the band smears, with all of it the brow comes down too.
_FOLD_FOLLOWS = 0.4
# Places along a ray, as shares of its length: denser near the face, where hair and neck must bend.
_RAY_STEPS = (0.12, 0.28, 0.48, 0.72, 1.0)
_EARS = np.array([127, 234, 93, 356, 454, 323])
# The outermost pixels never move, so that a head pasted back into its portrait meets it without a seam.
_STILL_BORDER_PX = 8


@dataclasses.dataclass(frozen=True, slots=True)
class PortraitMesh:
    """Everything about the mesh that depends on the portrait alone.

    Attributes:
        source_px: (V, 2) vertices in the crop: 468 landmarks, lashes, rays.
        triangles: (F, 3).
        ray_follow_skull, ray_follow_outline: (R, 36, 1) how far each ray point goes with the skull as a rigid ball,
            and with the face outline that its ray starts from.
        ray_depth: (R * 36,) depth of the ray points; behind all of the face.
        skull_centre_px: (3,) middle of the head, at the depth of the ears.
        identity_map: (H, W, 2) float32, where each pixel maps to itself.
        inside: (H, W, 1) float32, 1 inside and 0 on the border.
    """

    source_px: Float64Array
    triangles: IntArray
    ray_follow_skull: Float64Array
    ray_follow_outline: Float64Array
    ray_depth: Float64Array
    skull_centre_px: Float64Array
    identity_map: npt.NDArray[np.float32]
    inside: npt.NDArray[np.float32]

    def deform(self, face_px: npt.NDArray[np.floating], head: HeadMotion) -> tuple[Float64Array, Float64Array]:
        """Moved vertices (V, 2) and their depth (V,) for moved landmarks (468 or more, 3)."""
        face = np.asarray(face_px[:FACE_POINTS], dtype=np.float64)
        rest = self.source_px[_RAYS_FROM:].reshape(-1, len(FACE_OVAL), 2)
        outline_shift = face[FACE_OVAL, :2] - self.source_px[FACE_OVAL]
        rays = rest + self.ray_follow_outline * outline_shift + self.ray_follow_skull * self._skull_shift(rest, head)
        vertices = np.concatenate([face[:, :2], self.source_px[FACE_POINTS:_RAYS_FROM], rays.reshape(-1, 2)])
        depth = np.concatenate([face[:, 2], *(face[eye.upper[1:-1], 2] for eye in EYES), self.ray_depth])
        return vertices, depth

    def settle_lids(self, vertices_px: Float64Array, head: HeadMotion) -> None:
        """Place what depends on the lids after those have moved; ``vertices_px`` changes in place.

        Lashes ride with the lid. The fold comes down some of the way, so that the skin of the whole brow gives and
        not only the narrow band below the fold.
        """
        for eye in EYES:
            lid = eye.upper[1:-1]
            above = self.source_px[eye.lashes] - self.source_px[lid]
            vertices_px[eye.lashes] = vertices_px[lid] + above @ head.linear[:2, :2].T
            band = self.source_px[lid] - self.source_px[eye.crease]
            stretch = vertices_px[lid] - vertices_px[eye.crease] - band @ head.linear[:2, :2].T
            vertices_px[eye.crease] += _FOLD_FOLLOWS * stretch

    def source_map(self, vertices_px: Float64Array, depth: Float64Array) -> npt.NDArray[np.float32]:
        """(H, W, 2) float32: for each pixel of the moved image, its place in the crop."""
        result = self.identity_map.copy()
        draw_source_map(vertices_px, self.source_px, depth, self.triangles, result)
        _hold_border(result, self.identity_map, self.inside)
        return result

    def _skull_shift(self, points_px: Float64Array, head: HeadMotion) -> Float64Array:
        """Shift of the outline of a ball-like skull: it rolls, grows and travels, but turning does not change it."""
        centre = self.skull_centre_px
        turn = head.linear[:2, :2]
        cos_roll, sin_roll = turn[0, 0] + turn[1, 1], turn[1, 0] - turn[0, 1]
        norm = head.scale / max(float(np.hypot(cos_roll, sin_roll)), 1e-9)
        cos_roll, sin_roll = cos_roll * norm, sin_roll * norm
        around = np.array([[cos_roll, -sin_roll], [sin_roll, cos_roll]])
        moved = (points_px - centre[:2]) @ around.T + head.apply(centre)[:2]
        return np.asarray(moved - points_px)


def build_mesh(landmarks_px: npt.NDArray[np.floating], height: int, width: int) -> PortraitMesh:
    """Mesh for a crop of ``height`` x ``width`` whose landmarks (478, 3) are given in its pixels."""
    face = np.asarray(landmarks_px[:FACE_POINTS], dtype=np.float64)
    outline = face[FACE_OVAL, :2]
    top_px = face[10, :2]
    chin_px = face[152, :2]
    centre = 0.5 * (top_px + chin_px)
    radius_px = float(np.linalg.norm(chin_px - top_px)) / 2
    direction = outline - centre
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    reach = _distance_to_border(outline, direction, height, width)
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
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    border = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns))
    return PortraitMesh(
        source_px=np.concatenate([face[:, :2], *lashes, rays.reshape(-1, 2)]),
        triangles=np.concatenate([FACE_TRIANGLES, _ray_triangles(len(_RAY_STEPS))]),
        ray_follow_skull=follow_skull[..., None],
        ray_follow_outline=follow_outline[..., None],
        ray_depth=ray_depth.reshape(-1),
        skull_centre_px=skull,
        identity_map=np.ascontiguousarray(np.stack([columns, rows], axis=-1)),
        inside=np.clip(border / _STILL_BORDER_PX, 0.0, 1.0).astype(np.float32)[..., None],
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


def _distance_to_border(start: Float64Array, direction: Float64Array, height: int, width: int) -> Float64Array:
    """Length of each ray from ``start`` (N, 2) to the outermost pixel centres; 0 if it starts outside."""
    limit = np.array([width - 1.0, height - 1.0])
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    reach = np.where(safe > 0, (limit - start) / safe, -start / safe)
    return np.asarray(np.maximum(reach.min(axis=1), 0.0))


def _hold_border(
    source_map: npt.NDArray[np.float32], identity: npt.NDArray[np.float32], inside: npt.NDArray[np.float32]
) -> None:
    """Ease the map to the identity over the outermost pixels, in place."""
    edge = _STILL_BORDER_PX
    for part in (np.s_[:edge], np.s_[-edge:], np.s_[edge:-edge, :edge], np.s_[edge:-edge, -edge:]):
        still = identity[part]
        source_map[part] = still + (source_map[part] - still) * inside[part]
