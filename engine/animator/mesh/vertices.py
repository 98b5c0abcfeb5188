"""Where a motion takes a rig: vertices, their depths, and how each layer lies in the frame.

One pure function for many rows at once, in tensor operations of fixed shape alone, so that it runs on any device, can
be captured or exported, and gives every renderer the same answer.

Shape suffixes: B rows, D descriptor, E the two eyes, L points of a lid, M points of a lip, N landmarks, R ray points, V
vertices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.animator.mesh.rig import DESIGN_SIZE_PX, TEXELS_PER_PX, Rig
from engine.animator.mesh.topology import CHIN, EYES, FACE_OVAL, FACE_POINTS, LASH_VERTICES, MOUTH_LOWER, MOUTH_UPPER
from engine.motion.space.coefficients import EXPRESSION, GAZE, POSE
from engine.motion.space.gaze import direction_to_gaze, gaze_to_direction
from engine.motion.space.pose import similarity_from_pose

# Of the iris's way, how much the upper lid goes along. Down nearly all of it, as real lids do: less leaves white above
# the iris. Up half: more lifts the lid off the eyeball into a stare.
_LID_FOLLOWS_DOWN = 0.85
_LID_FOLLOWS_UP = 0.5
# The lower lid hardly moves with the gaze.
_LOWER_LID_FOLLOWS = 0.25
# Shares of the gap that the lids take when they shut: real ones come down from above.
_UPPER_LID_SHARE, _LOWER_LID_SHARE = 0.85, 0.15
# Of the stretch that a closing lid puts on the band below its fold, this much is passed on to the fold: with nothing
# the band smears, with all of it the brow comes down too.
_FOLD_FOLLOWS = 0.4
# Eyes turn no further in their sockets, pitch and yaw (26 and 36 degrees); commands approach that smoothly.
_GAZE_LIMIT_RAD = (0.45, 0.62)
# The lower teeth rise above the lower lip by this at most; more looks like a bite.
_LOWER_TEETH_SHOW = 0.055


class _Places(NamedTuple):
    """Indices of vertices, int64; ``order_V``: for each of the first vertices its place among the groups of `move`."""

    oval_O: Tensor
    upper_EL: Tensor
    lower_EL: Tensor
    crease_EL: Tensor
    lashes_EL: Tensor
    lips_HM: Tensor
    chin_K: Tensor
    order_V: Tensor

    @classmethod
    def on(cls, device: torch.device | str) -> _Places:
        lips = np.stack([MOUTH_UPPER, MOUTH_LOWER])
        upper, lower, crease, lashes = (
            np.stack([getattr(eye, name) for eye in EYES]) for name in ("upper", "lower", "crease", "lashes")
        )
        order = np.arange(FACE_POINTS + LASH_VERTICES)
        place = FACE_POINTS
        for group in (lips, upper, lower, crease, lashes):
            order[group.reshape(-1)] = place + np.arange(group.size)
            place += group.size
        groups = (FACE_OVAL, upper, lower, crease, lashes, lips, CHIN, order)
        return cls(*(torch.from_numpy(np.asarray(group, np.int64)).to(device) for group in groups))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RigTables:
    """What `move` needs of the rigs of B rows, which are of one size; tensors on one device, float32."""

    size_px: int
    places: _Places
    neutral_BN3: Tensor
    expression_basis_DX: Tensor
    source_BV2: Tensor
    rays_BRO2: Tensor
    ray_follow_skull_BRO1: Tensor
    ray_follow_outline_BRO1: Tensor
    ray_depth_BR: Tensor
    skull_centre_B3: Tensor
    rest_scale_B: Tensor
    rest_rotation_B33: Tensor
    rest_centre_B3: Tensor
    eyeball_radius_B: Tensor
    rest_iris_B2: Tensor
    lid_rest_BEL: Tensor
    lid_shut_BEL: Tensor
    eye_sealed_BE: Tensor
    eye_axes_BE22: Tensor
    eye_centre_BE2: Tensor
    lip_rest_BM: Tensor
    lip_shut_BM: Tensor
    lip_shown_BM: Tensor
    anchor_B3: Tensor
    chin_BK3: Tensor
    mouth_width_B: Tensor
    teeth_origin_BE2: Tensor
    own_origin_B2: Tensor
    own_open_B: Tensor
    own_stays_B: Tensor

    @classmethod
    def of(cls, rig: Rig, device: torch.device | str = "cpu") -> RigTables:
        """Tables of one row."""
        rest = torch.from_numpy(rig.rest_descriptor)[None]
        scale, rotation, centre = _place(rest, rig.size_px)
        gaze = _limited_gaze(_eye_in_head(rest, rotation))
        eyes, mouth = rig.eyes, rig.mouth
        corners = np.stack([eye.corners_px for eye in eyes])
        # Columns: from corner to corner, and down.
        axes = np.stack([corners[:, 1] - corners[:, 0], np.stack([eye.down for eye in eyes])], -1)
        origin = np.stack([eye.origin_px for eye in eyes])
        rays = rig.source_px[FACE_POINTS + LASH_VERTICES :].reshape(-1, len(FACE_OVAL), 2)
        grid = rays.shape[:2]

        row: dict[str, Any] = {
            "neutral_BN3": rig.neutral_shape,
            "source_BV2": rig.source_px,
            "rays_BRO2": rays,
            "ray_follow_skull_BRO1": rig.ray_follow_skull.reshape(*grid, 1),
            "ray_follow_outline_BRO1": rig.ray_follow_outline.reshape(*grid, 1),
            "ray_depth_BR": rig.ray_depth_px,
            "skull_centre_B3": rig.skull_centre_px,
            "rest_scale_B": scale[0],
            "rest_rotation_B33": rotation[0],
            "rest_centre_B3": centre[0],
            "eyeball_radius_B": rig.eyeball_radius_px,
            "rest_iris_B2": _iris_place(gaze)[0],
            "lid_rest_BEL": [eye.rest_gap_px for eye in eyes],
            "lid_shut_BEL": [eye.shut_gap_px for eye in eyes],
            "eye_sealed_BE": [eye.sealed for eye in eyes],
            "eye_axes_BE22": axes,
            "eye_centre_BE2": corners.mean(1) - origin,
            "lip_rest_BM": mouth.rest_gap_px,
            "lip_shut_BM": mouth.shut_gap_px,
            "lip_shown_BM": mouth.rest_gap_shown_px,
            "anchor_B3": mouth.anchor_px,
            "chin_BK3": mouth.chin_px,
            "mouth_width_B": mouth.width_px,
            "teeth_origin_BE2": [mouth.upper_origin_px, mouth.lower_origin_px],
            "own_origin_B2": mouth.own_origin_px,
            "own_open_B": mouth.own.size > 0,
            "own_stays_B": mouth.own_stays,
        }
        return cls(
            size_px=rig.size_px,
            places=_Places.on(device),
            expression_basis_DX=torch.from_numpy(rig.expression_basis).flatten(1).to(device),
            **{
                name: torch.as_tensor(np.asarray(value, np.float32)[None], device=device) for name, value in row.items()
            },
        )

    @classmethod
    def stack(cls, rows: Sequence[RigTables]) -> RigTables:
        """Tables of many rows, from those of each; all of one size and one motion model."""
        if len({row.size_px for row in rows}) != 1:
            raise ValueError("rigs that move together must be of one size")
        shared = ("size_px", "places", "expression_basis_DX")
        names = [field.name for field in dataclasses.fields(cls) if field.name not in shared]
        parts: dict[str, Any] = {name: torch.cat([getattr(row, name) for row in rows]) for name in names}
        return dataclasses.replace(rows[0], **parts)


class MovedRig(NamedTuple):
    """B rigs in motion; all that a renderer needs besides the rigs' textures.

    A layer's matrix (2, 3) takes a pixel (x, y, 1) of the frame to a texel of the layer's texture.

    Attributes:
        positions_BV2, depth_BV: vertices in px; larger depth is farther.
        ball_BE23, iris_BE23: matrices of each eye's white and residue, and of its iris.
        still_BE: 1 where the iris is where the portrait has it, falling to 0 within two pixels of 256.
        lids_shut_BE, lips_shut_B: strength 0..1 of the lines where lids and lips meet.
        teeth_BE23: matrices of the upper and the lower teeth; own_B23: of the portrait's own mouth.
        own_share_B: how much of the portrait's own mouth is shown, 0..1.
        scale_B: size of the head relative to the portrait.
    """

    positions_BV2: Tensor
    depth_BV: Tensor
    ball_BE23: Tensor
    iris_BE23: Tensor
    still_BE: Tensor
    lids_shut_BE: Tensor
    lips_shut_B: Tensor
    teeth_BE23: Tensor
    own_B23: Tensor
    own_share_B: Tensor
    scale_B: Tensor


def move(tables: RigTables, descriptor_BD: Tensor) -> MovedRig:
    """Move the rigs of B rows to motion descriptors (B, 72) float32: expression, pose, gaze in the camera frame."""
    oval_O, upper_EL, lower_EL, crease_EL, lashes_EL, lips_HM, _, order_V = tables.places
    scale_B, rotation_B33, centre_B3 = _place(descriptor_BD, tables.size_px)
    grown_B = scale_B / tables.rest_scale_B
    linear_B33 = grown_B[:, None, None] * (rotation_B33 @ tables.rest_rotation_B33.mT)
    down_B2 = _unit(rotation_B33[:, :2, 1])

    def fixed_to_head(points_BX3: Tensor) -> Tensor:
        return (points_BX3 - tables.rest_centre_B3[:, None]) @ linear_B33.mT + centre_B3[:, None]

    expression_BX = descriptor_BD[:, EXPRESSION] @ tables.expression_basis_DX
    shape_BN3 = tables.neutral_BN3 + expression_BX.reshape(-1, *tables.neutral_BN3.shape[1:])
    landmarks_BN3 = scale_B[:, None, None] * (shape_BN3 @ rotation_B33.mT) + centre_B3[:, None]
    face_BV3 = landmarks_BN3[:, :FACE_POINTS]
    face_BV2 = face_BV3[..., :2]

    outline_BO2 = face_BV2[:, oval_O] - tables.source_BV2[:, oval_O]
    moved_skull_B2 = fixed_to_head(tables.skull_centre_B3[:, None])[:, 0, :2]
    rays_BRO2 = (
        tables.rays_BRO2
        + tables.ray_follow_outline_BRO1 * outline_BO2[:, None]
        + tables.ray_follow_skull_BRO1 * _skull_shift(tables, linear_B33, grown_B, moved_skull_B2)
    )

    lips_BHM2 = _closed_lips(tables, face_BV2[:, lips_HM], down_B2, grown_B)
    gaze_B2 = _limited_gaze(_eye_in_head(descriptor_BD, rotation_B33))
    iris_shift_B2 = tables.eyeball_radius_B[:, None] * (_iris_place(gaze_B2) - tables.rest_iris_B2)
    upper_BEL2, lower_BEL2 = _closed_lids(
        tables, face_BV2[:, upper_EL], face_BV2[:, lower_EL], down_B2, grown_B, iris_shift_B2[:, 1]
    )
    turn_B122 = linear_B33[:, None, :2, :2].mT
    # Lashes ride with the lid, which carries the fold above it along a part of the way: so the skin of the whole brow
    # gives, and not only the narrow band below the fold.
    lid_BEL2, source_lid_BEL2 = upper_BEL2[:, :, 1:-1], tables.source_BV2[:, upper_EL[:, 1:-1]]
    lashes_BEL2 = lid_BEL2 + (tables.source_BV2[:, lashes_EL] - source_lid_BEL2) @ turn_B122
    crease_BEL2 = face_BV2[:, crease_EL]
    band_BEL2 = (source_lid_BEL2 - tables.source_BV2[:, crease_EL]) @ turn_B122
    crease_BEL2 = crease_BEL2 + _FOLD_FOLLOWS * (lid_BEL2 - crease_BEL2 - band_BEL2)

    groups = (
        face_BV2,
        *(part.flatten(1, -2) for part in (lips_BHM2, upper_BEL2, lower_BEL2, crease_BEL2, lashes_BEL2)),
    )
    positions_BV2 = torch.cat([torch.cat(groups, 1)[:, order_V], rays_BRO2.flatten(1, 2)], 1)
    lash_depth_BL = face_BV3[:, upper_EL[:, 1:-1].flatten(), 2]
    depth_BV = torch.cat([face_BV3[..., 2], lash_depth_BL, tables.ray_depth_BR], 1)

    plane_B22 = grown_B[:, None, None] * rotation_B33[:, :2, :2]
    shift_B2 = (plane_B22 @ iris_shift_B2[..., None])[..., 0]
    ball_BE23, iris_BE23 = _eye_matrices(tables, upper_BEL2, linear_B33, shift_B2)
    lid_gap_BE = (lower_BEL2 - upper_BEL2).norm(dim=-1).amax(-1) / grown_B[:, None]
    still_B = torch.exp(-((shift_B2 * (DESIGN_SIZE_PX / tables.size_px)) ** 2).sum(-1))

    anchor_B2 = fixed_to_head(tables.anchor_B3[:, None])[:, 0, :2]
    jaw_B2 = _jaw_shift(tables, landmarks_BN3, lips_BHM2, fixed_to_head(tables.chin_BK3), anchor_B2, down_B2, grown_B)
    teeth_centre_BE2 = torch.stack([anchor_B2, anchor_B2 + jaw_B2], 1)
    teeth_BE23 = _texture_matrix(
        TEXELS_PER_PX * _inverse(plane_B22)[:, None], teeth_centre_BE2, TEXELS_PER_PX * tables.teeth_origin_BE2
    )
    own_B23 = _texture_matrix(_inverse(linear_B33[:, :2, :2]), anchor_B2, tables.own_origin_B2)
    lip_gap_BM = ((lips_BHM2[:, 1] - lips_BHM2[:, 0]) @ down_B2[..., None])[..., 0] / grown_B[:, None]
    # Without teeth to keep in place, the portrait's own mouth fades as the lips move away from how they were taken.
    change_B = (lip_gap_BM - tables.lip_shown_BM).abs().amax(-1) / (0.12 * tables.mouth_width_B)
    own_share_B = tables.own_open_B * torch.maximum(1.0 - _smooth_step(change_B), tables.own_stays_B)
    lip_reach_B = torch.minimum(0.08 * tables.mouth_width_B, 0.5 * tables.lip_rest_BM.amax(-1)).clamp_min(1e-6)
    lips_apart_B = (lips_BHM2[:, 1] - lips_BHM2[:, 0]).norm(dim=-1).amax(-1) / grown_B
    return MovedRig(
        positions_BV2=positions_BV2,
        depth_BV=depth_BV,
        ball_BE23=ball_BE23,
        iris_BE23=iris_BE23,
        still_BE=still_B[:, None].expand(-1, len(EYES)),
        lids_shut_BE=1.0 - _smooth_step(lid_gap_BE / (0.4 * tables.lid_rest_BEL.amax(-1)).clamp_min(1e-6)),
        lips_shut_B=tables.own_open_B * (1.0 - _smooth_step(lips_apart_B / lip_reach_B)),
        teeth_BE23=teeth_BE23,
        own_B23=own_B23,
        own_share_B=own_share_B,
        scale_B=grown_B,
    )


def _place(descriptor_BD: Tensor, size_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (B,) px per face unit, rotation (B, 3, 3) canonical head to camera, and the head's origin (B, 3) px."""
    scale, rotation, centre = similarity_from_pose(descriptor_BD[:, POSE], size_px)
    # The motion space counts from the corner of the image, a rig from the middle of its first pixel.
    return scale, rotation, centre - centre.new_tensor([0.5, 0.5, 0.0])


def _eye_in_head(descriptor_BD: Tensor, rotation_B33: Tensor) -> Tensor:
    """Pitch and yaw (B, 2) of the eyes within the head, for the descriptor's gaze in the camera frame."""
    direction_B3 = gaze_to_direction(descriptor_BD[:, GAZE])
    return direction_to_gaze((direction_B3[:, None] @ rotation_B33)[:, 0])


def _limited_gaze(gaze_B2: Tensor) -> Tensor:
    """Eye-in-head pitch and yaw eased into the range of the eyes; strictly monotonic in both."""
    limit = gaze_B2.new_tensor(_GAZE_LIMIT_RAD)
    return limit * torch.tanh(gaze_B2 / limit)


def _iris_place(gaze_B2: Tensor) -> Tensor:
    """Place (B, 2) of the iris on a unit eyeball, in the head's frontal plane."""
    pitch, yaw = gaze_B2.unbind(-1)
    return torch.stack([torch.cos(pitch) * torch.sin(yaw), -torch.sin(pitch)], -1)


def _skull_shift(tables: RigTables, linear_B33: Tensor, grown_B: Tensor, moved_centre_B2: Tensor) -> Tensor:
    """Shift of the ray points with a ball-like skull: it rolls, grows and travels, but turning does not change it."""
    cos_B = linear_B33[:, 0, 0] + linear_B33[:, 1, 1]
    sin_B = linear_B33[:, 1, 0] - linear_B33[:, 0, 1]
    norm_B = grown_B / torch.hypot(cos_B, sin_B).clamp_min(1e-9)
    cos_B, sin_B = cos_B * norm_B, sin_B * norm_B
    around_B22 = torch.stack([cos_B, sin_B, -sin_B, cos_B], -1).reshape(-1, 2, 2)
    from_centre_BRO2 = tables.rays_BRO2 - tables.skull_centre_B3[:, None, None, :2]
    return from_centre_BRO2 @ around_B22[:, None] + moved_centre_B2[:, None, None] - tables.rays_BRO2


def _closed_lips(tables: RigTables, lips_BHM2: Tensor, down_B2: Tensor, grown_B: Tensor) -> Tensor:
    """Bring upper and lower lip (B, 2, 11, 2) together where they should touch."""
    gap_BM = ((lips_BHM2[:, 1] - lips_BHM2[:, 0]) @ down_B2[..., None])[..., 0] / grown_B[:, None]
    rest, shut, shown = tables.lip_rest_BM, tables.lip_shut_BM, tables.lip_shown_BM
    narrow_BM = shown * (gap_BM - shut) / (rest - shut).clamp_min(1e-6)
    wanted_BM = torch.where(gap_BM < rest, narrow_BM, gap_BM - rest + shown).clamp_min(0.0)
    excess_BM2 = (0.5 * grown_B[:, None] * (gap_BM - wanted_BM))[..., None] * down_B2[:, None]
    return torch.stack([lips_BHM2[:, 0] + excess_BM2, lips_BHM2[:, 1] - excess_BM2], 1)


def _closed_lids(
    tables: RigTables, upper_BEL2: Tensor, lower_BEL2: Tensor, down_B2: Tensor, grown_B: Tensor, iris_drop_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Let the lids follow the gaze up and down, and meet when they are nearly closed."""
    gap_BEL = ((lower_BEL2 - upper_BEL2) @ down_B2[:, None, :, None])[..., 0] / grown_B[:, None, None]
    rest, shut, sealed = tables.lid_rest_BEL, tables.lid_shut_BEL, tables.eye_sealed_BE[..., None]
    narrow_BEL = rest * (gap_BEL - shut) / (rest - shut).clamp_min(1e-6)
    shown_BEL = torch.where(sealed > 0, gap_BEL - rest, torch.where(gap_BEL < rest, narrow_BEL, gap_BEL)).clamp_min(0.0)
    closing_BEL = gap_BEL - shown_BEL
    # The lids go with the iris, by as much as the expression has not moved them already; never so far that looking
    # down shuts the eye (0.6 of what is open) or looking up tears it open (0.3 of the rest).
    drop_B11 = iris_drop_B[:, None, None]
    openness_BEL = (shown_BEL / rest.clamp_min(1e-6)).clamp(0.0, 1.0)
    lowered_BEL = rest - shown_BEL
    down_BEL = (_LID_FOLLOWS_DOWN * drop_B11 - lowered_BEL.clamp_min(0.0)).clamp_min(0.0).minimum(0.6 * shown_BEL)
    up_BEL = (_LID_FOLLOWS_UP * drop_B11 - lowered_BEL.clamp_max(0.0)).clamp_max(0.0).maximum(-0.3 * rest)
    follow_BEL = torch.where(drop_B11 > 0, down_BEL, openness_BEL * up_BEL)
    lower_follow_BEL = openness_BEL * (_LOWER_LID_FOLLOWS * drop_B11).maximum(-0.12 * rest).minimum(0.15 * rest)
    inner_L = torch.ones_like(rest[0, 0])
    inner_L[0] = inner_L[-1] = 0.0
    step_BEL2 = (grown_B[:, None, None] * inner_L)[..., None] * down_B2[:, None, None]
    upper_BEL2 = upper_BEL2 + (_UPPER_LID_SHARE * closing_BEL + follow_BEL)[..., None] * step_BEL2
    lower_BEL2 = lower_BEL2 - (_LOWER_LID_SHARE * closing_BEL - lower_follow_BEL)[..., None] * step_BEL2
    return upper_BEL2, lower_BEL2


def _eye_matrices(tables: RigTables, upper_BEL2: Tensor, linear_B33: Tensor, shift_B2: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices of each eye's white and iris: corners onto corners, down onto down."""
    across_BE2 = upper_BEL2[:, :, -1] - upper_BEL2[:, :, 0]
    down_BE2 = (linear_B33[:, None, :2, :2] @ tables.eye_axes_BE22[..., 1:])[..., 0]
    to_rest_BE22 = tables.eye_axes_BE22 @ _inverse(torch.stack([across_BE2, down_BE2], -1))
    centre_BE2 = 0.5 * (upper_BEL2[:, :, 0] + upper_BEL2[:, :, -1])
    ball = _texture_matrix(to_rest_BE22, centre_BE2, -tables.eye_centre_BE2)
    return ball, _texture_matrix(to_rest_BE22, centre_BE2 + shift_B2[:, None], -tables.eye_centre_BE2)


def _texture_matrix(linear: Tensor, centre_px: Tensor, origin_texels: Tensor) -> Tensor:
    """Matrix (..., 2, 3) from frame to texels for a texture whose first texel lies ``origin`` from ``centre_px``."""
    start = -(linear @ centre_px[..., None]) - origin_texels[..., None]
    return torch.cat([linear.expand(*start.shape[:-2], 2, 2), start], -1)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of matrices (..., 2, 2); of what is seen edge-on, and so not at all, some finite matrix."""
    a, b, c, d = matrix.flatten(-2).unbind(-1)
    determinant = a * d - b * c
    safe = torch.where(determinant.abs() < 1e-3, torch.ones_like(determinant), determinant)
    return torch.stack([d, -b, -c, a], -1).reshape(matrix.shape) / safe[..., None, None]


def _jaw_shift(
    tables: RigTables,
    landmarks_BN3: Tensor,
    lips_BHM2: Tensor,
    still_chin_BK3: Tensor,
    anchor_B2: Tensor,
    down_B2: Tensor,
    grown_B: Tensor,
) -> Tensor:
    """Shift (B, 2) of the lower teeth against the head: with the chin, but never far above the lower lip."""
    chin_B2 = (landmarks_BN3[:, tables.places.chin_K] - still_chin_BK3).mean(1)[:, :2]
    chin_down_B = (chin_B2 * down_B2).sum(-1)
    lip_B2 = lips_BHM2[:, 1, 4:7].mean(1) - anchor_B2
    highest_B = (lip_B2 * down_B2).sum(-1) - _LOWER_TEETH_SHOW * tables.mouth_width_B * grown_B
    # The jaw swings about its joint: its teeth go half as far sideways as the chin.
    sideways_B2 = chin_B2 - chin_down_B[:, None] * down_B2
    return torch.maximum(chin_down_B, highest_B)[:, None] * down_B2 + 0.5 * sideways_B2


def _unit(vector_B2: Tensor) -> Tensor:
    length_B1: Tensor = vector_B2.norm(dim=-1, keepdim=True)
    return vector_B2 / length_B1.clamp_min(1e-6)


def _smooth_step(x: Tensor) -> Tensor:
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
