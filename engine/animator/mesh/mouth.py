"""What shows between the lips: throat, tongue, and two rows of teeth, one fixed to the head and one to the jaw.

A portrait with open lips lends its own teeth; for one with closed lips they are painted in its light. Lengths are
shares of the mouth's width, colours shares of the portrait's light. All of them were chosen by eye on portraits of
256 px, so that speech shows mostly the upper row, and the lower one only where the mouth is wide open.
"""

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import Box, ContourMask, blend_into, box_around, contour_mask, set_gap, smooth_step
from engine.animator.mesh.head_motion import HeadMotion, down_axis
from engine.animator.mesh.teeth import TEXELS_PER_PX, paint_lower_teeth, paint_upper_teeth
from engine.animator.mesh.topology import MOUTH_LOWER, MOUTH_UPPER

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

_CHIN = np.array([152, 148, 377, 175, 199, 200])
# A gap above this is a portrait with open lips; below it landmarks of closed lips scatter.
_OPEN_AT_REST = 0.045
# Landmarks of lips that touch still gape by this much: it is taken off, or p, b and m would never close. Portraits with
# open lips take twice of it, whose landmarks lie further apart when they shut.
_TOUCHING = 0.022
# Beyond the lips, so that the portrait's own teeth go on under them when the mouth opens wider.
_OWN_MARGIN_PX = 14
_EDGE_SOFTNESS_PX = 0.6
# The lower teeth rise above the lower lip by this at most; more looks like a bite.
_LOWER_TEETH_SHOW = 0.055
_SEAM_STRENGTH = 0.5
# Colours as shares of the brightness of a white thing in the portrait: the throat nearly black, flesh of the tongue,
# the shadow where lips meet, and teeth a little yellow.
_THROAT = (0.17, 0.075, 0.07)
_FLESH = (0.50, 0.25, 0.24)
_SEAM = (0.36, 0.17, 0.16)
_ENAMEL = (0.97, 0.93, 0.86)
# Lower teeth lie deeper and catch less light.
_LOWER_SHADE = 0.82
# Half the visible width of a row, and how long its teeth are.
_UPPER_HALF, _LOWER_HALF = 0.43, 0.34
_UPPER_LENGTH, _LOWER_LENGTH = 0.21, 0.17
# The teeth lie this far behind the lips, which gives them their parallax as the head turns.
_TEETH_DEPTH = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class MouthLayer:
    """Everything about the mouth that depends on the portrait alone; lengths in crop pixels.

    Attributes:
        rest_gap_px, shut_gap_px: (11,) gap between the lips in the portrait, and below which the lips touch.
        rest_gap_shown_px: (11,) gap of the lips as drawn: 0 where the portrait's lips are closed.
        anchor_px: (3,) middle of the teeth.
        chin_px: (6, 3) points that follow the jaw.
        width_px: distance between the mouth corners.
        upper_teeth, lower_teeth: RGBA premultiplied textures.
        upper_origin_px, lower_origin_px: (2,) place of their first texel from the anchor, in the frontal plane.
        own, own_box: RGBA premultiplied image of the portrait's own mouth, or None.
        own_stays: whether it shows teeth, and so stays as the lips move.
        light: (3,) brightness of a white thing in this portrait, RGB 0..255.
    """

    rest_gap_px: Float64Array
    shut_gap_px: Float64Array
    rest_gap_shown_px: Float64Array
    anchor_px: Float64Array
    chin_px: Float64Array
    width_px: float
    upper_teeth: Float32Array
    lower_teeth: Float32Array
    upper_origin_px: Float64Array
    lower_origin_px: Float64Array
    own: Float32Array | None
    own_box: Box
    own_stays: bool
    light: Float32Array

    def close_lips(self, points_px: Float64Array, head: HeadMotion) -> None:
        """Bring the lips together where they should touch; ``points_px`` (V, 2) changes in place."""
        down = down_axis(head.target_rotation)
        upper, lower = points_px[MOUTH_UPPER], points_px[MOUTH_LOWER]
        gap = (lower - upper) @ down / head.scale
        rest, shut = self.rest_gap_px, self.shut_gap_px
        narrow = self.rest_gap_shown_px * (gap - shut) / np.maximum(rest - shut, 1e-6)
        shown = np.where(gap < rest, narrow, gap - rest + self.rest_gap_shown_px)
        upper, lower = set_gap(upper, lower, down, np.maximum(shown, 0.0) * head.scale)
        points_px[MOUTH_UPPER], points_px[MOUTH_LOWER] = upper, lower

    def draw(
        self,
        frame: ImageArray,
        points_px: Float64Array,
        landmarks_px: npt.NDArray[np.floating],
        head: HeadMotion,
    ) -> None:
        """Draw the inside of the mouth into ``frame`` in place, between the lips of ``points_px`` (V, 2)."""
        upper, lower = points_px[MOUTH_UPPER], points_px[MOUTH_LOWER]
        box = box_around(np.concatenate([upper, lower]), 2.0, *frame.shape[:2])
        if box.empty:
            return
        seen = contour_mask(upper, lower, box, _EDGE_SOFTNESS_PX)
        if self.own is not None:
            self._draw_seam(frame, seen, box, float(np.linalg.norm(lower - upper, axis=1).max()) / head.scale)
        if float(seen.coverage.max()) < 1.0 / 255.0:
            return
        jaw = self._jaw_shift(points_px, landmarks_px, head)
        size = (box.right - box.left, box.bottom - box.top)
        width = self.width_px * head.scale
        inside = self._throat(seen, width)
        anchor = head.apply(self.anchor_px)[:2]
        plane = head.scale * head.target_rotation[:2, :2]
        for teeth, origin, centre in (
            (self.lower_teeth, self.lower_origin_px, anchor + jaw),
            (self.upper_teeth, self.upper_origin_px, anchor),
        ):
            _over(inside, _sample(teeth, plane, centre, origin, TEXELS_PER_PX, box, size))
        inside *= _lip_shadow(seen, width)
        if self.own is not None:
            origin = np.array([self.own_box.left, self.own_box.top]) - self.anchor_px[:2]
            own = _sample(self.own, head.linear[:2, :2], anchor, origin, 1, box, size)
            if not self.own_stays:
                own *= self._near_rest(points_px, head)
            _over(inside, own)
        blend_into(frame, box, inside, seen.coverage[..., None])

    def _draw_seam(self, frame: ImageArray, seen: ContourMask, box: Box, gap_px: float) -> None:
        """Shadow where the lips of a portrait that came with them apart now meet."""
        shut = 1.0 - float(smooth_step(gap_px / min(0.08 * self.width_px, 0.5 * float(self.rest_gap_px.max()))))
        if shut < 0.01:
            return
        line = np.exp(-(seen.below_upper**2)) * np.clip(3.0 - 3.0 * np.abs(seen.across), 0.0, 1.0)
        alpha = (_SEAM_STRENGTH * shut * line).astype(np.float32)[..., None]
        blend_into(frame, box, self.light * np.array(_SEAM, np.float32), alpha)

    def _jaw_shift(
        self, points_px: Float64Array, landmarks_px: npt.NDArray[np.floating], head: HeadMotion
    ) -> Float64Array:
        """Shift (2,) of the lower teeth against the head: with the chin, but never far above the lower lip."""
        down = down_axis(head.target_rotation)
        chin = (landmarks_px[_CHIN] - head.apply(self.chin_px)).mean(axis=0)[:2]
        lip = points_px[MOUTH_LOWER[4:7]].mean(axis=0) - head.apply(self.anchor_px)[:2]
        highest = float(lip @ down) - _LOWER_TEETH_SHOW * self.width_px * head.scale
        # The jaw swings about its joint: its teeth go half as far sideways as the chin.
        sideways = chin - (chin @ down) * down
        return np.asarray(max(float(chin @ down), highest) * down + 0.5 * sideways)

    def _near_rest(self, points_px: Float64Array, head: HeadMotion) -> float:
        gap = (points_px[MOUTH_LOWER] - points_px[MOUTH_UPPER]) @ down_axis(head.target_rotation) / head.scale
        change = float(np.abs(gap - self.rest_gap_shown_px).max())
        # Without teeth to keep in place, the portrait's own mouth fades as the lips move away from how they were taken.
        return 1.0 - float(smooth_step(change / (0.12 * self.width_px)))

    def _throat(self, seen: ContourMask, width_px: float) -> Float32Array:
        """Dark red, with the tongue rising from the lower lip as the mouth opens."""
        # The tongue fills the lower half, from a gap of a tenth of the mouth's width on.
        gap = np.maximum(seen.below_upper + seen.above_lower, 1e-3)
        low = 1.0 - seen.above_lower / gap
        tongue = smooth_step((low - 0.45) / 0.4) * smooth_step((gap / width_px - 0.10) / 0.25)
        tongue = (tongue * np.clip(1.0 - (seen.across / 0.75) ** 2, 0.0, 1.0)).astype(np.float32)[..., None]
        throat = self.light * np.array(_THROAT, np.float32)
        flesh = self.light * np.array(_FLESH, np.float32)
        return np.asarray(throat + (flesh - throat) * tongue, np.float32)


def build_mouth(
    rgb: ImageArray,
    landmarks_px: Float64Array,
    points_px: Float64Array,
    rotation: Float64Array,
    light: Float32Array,
) -> MouthLayer:
    """Mouth of a crop; closes the seam of ``points_px`` (V, 2) in place where the portrait's lips touch."""
    down = down_axis(rotation)
    upper, lower = points_px[MOUTH_UPPER].copy(), points_px[MOUTH_LOWER].copy()
    width_px = float(np.linalg.norm(landmarks_px[78] - landmarks_px[308]))
    rest_gap = np.maximum((lower - upper) @ down, 0.0)
    is_open = float(rest_gap[3:8].mean()) > _OPEN_AT_REST * width_px
    shown = rest_gap if is_open else np.zeros_like(rest_gap)
    shut = np.minimum((2.0 if is_open else 1.0) * _TOUCHING * width_px, 0.6 * rest_gap)
    points_px[MOUTH_UPPER], points_px[MOUTH_LOWER] = set_gap(upper, lower, down, shown)
    own, own_box, own_stays = None, Box(0, 0, 0, 0), False
    if is_open:
        own_box = box_around(np.concatenate([upper, lower]), _OWN_MARGIN_PX, *rgb.shape[:2])
        own, own_stays, teeth_light = _own_mouth(rgb, upper, lower, own_box, light)
        light = teeth_light if own_stays else light
    forward = rotation[:, 2]
    seam = 0.5 * (landmarks_px[13] + landmarks_px[14])
    if is_open:
        # The upper lip of a smile has risen: the biting edges stay where closed lips would meet.
        seam = landmarks_px[13] + 0.35 * (landmarks_px[14] - landmarks_px[13])
    colour = light * np.array(_ENAMEL, np.float32)
    half_upper, half_lower = _UPPER_HALF * width_px, _LOWER_HALF * width_px
    length_upper, length_lower = _UPPER_LENGTH * width_px, _LOWER_LENGTH * width_px
    return MouthLayer(
        rest_gap_px=rest_gap,
        shut_gap_px=shut,
        rest_gap_shown_px=shown,
        anchor_px=seam + _TEETH_DEPTH * width_px * forward,
        chin_px=landmarks_px[_CHIN].copy(),
        width_px=width_px,
        upper_teeth=paint_upper_teeth(half_upper, length_upper, colour),
        lower_teeth=paint_lower_teeth(half_lower, length_lower, colour * _LOWER_SHADE),
        upper_origin_px=np.array([-half_upper - 1.0, 0.03 * width_px - length_upper]),
        lower_origin_px=np.array([-half_lower - 1.0, -2.0]),
        own=own,
        own_box=own_box,
        own_stays=own_stays,
        light=light,
    )


def _own_mouth(
    rgb: ImageArray, upper: Float64Array, lower: Float64Array, box: Box, light: Float32Array
) -> tuple[Float32Array, bool, Float32Array]:
    """The portrait's open mouth, continued under both lips, whether it shows teeth, and how bright they are."""
    seen = contour_mask(upper, lower, box)
    image = rgb[box.slices].astype(np.float32)
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None]
    first = rows - seen.below_upper + 0.8
    last = np.maximum(rows + seen.above_lower - 0.8, first)
    columns = np.broadcast_to(np.arange(image.shape[1], dtype=np.float32), first.shape)
    inner = np.clip(rows, first, last).astype(np.float32)
    image = cv2.remap(image, np.ascontiguousarray(columns), inner, cv2.INTER_LINEAR)
    gap = seen.below_upper + seen.above_lower
    alpha = np.clip(seen.above_lower / 1.5 + 1.4, 0.0, 1.0) * np.clip(seen.below_upper / 4.0 + 2.5, 0.0, 1.0)
    alpha = alpha * np.clip(gap / 1.5, 0.0, 1.0) * (np.abs(seen.across) < 1.0)
    inside = seen.coverage > 0.5
    bright = image[inside].mean() if inside.any() else 0.0
    white = np.quantile(image[inside], 0.8, axis=0) if inside.any() else light
    # Above the teeth that show, gum.
    gum = (white * np.array([0.66, 0.42, 0.42]))[None, None]
    into_gum = smooth_step((-seen.below_upper - 0.5) / 3.0)[..., None]
    image = image + (gum - image) * into_gum
    rgba = np.concatenate([image * alpha[..., None], 255.0 * alpha[..., None]], axis=2)
    return rgba.astype(np.float32), bool(bright > 0.45 * light.mean()), white.astype(np.float32)


def _sample(
    texture: Float32Array,
    plane: Float64Array,
    centre: Float64Array,
    origin_px: Float64Array,
    texels_per_px: int,
    box: Box,
    size: tuple[int, int],
) -> Float32Array:
    """Part of a premultiplied RGBA texture that falls on ``box`` when its plane is laid into the image."""
    to_plane = np.linalg.inv(plane) * texels_per_px
    corner = to_plane @ (np.array([box.left, box.top]) - centre) - texels_per_px * origin_px
    matrix = np.concatenate([to_plane, corner[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(texture, matrix, size, flags=flags), np.float32)


def _over(below: Float32Array, above: Float32Array) -> None:
    below *= 1.0 - above[..., 3:] / 255.0
    below += above[..., :3]


def _lip_shadow(seen: ContourMask, width_px: float) -> Float32Array:
    """Light that reaches the inside: less under the upper lip, in the corners and through a narrow gap."""
    under_lip = 0.72 + 0.28 * smooth_step(seen.below_upper / (0.07 * width_px))
    over_lip = 0.80 + 0.20 * smooth_step(seen.above_lower / (0.06 * width_px))
    corner = 1.0 - 0.65 * np.clip(np.abs(seen.across), 0.0, 1.0) ** 3
    return (under_lip * over_lip * corner).astype(np.float32)[..., None]
