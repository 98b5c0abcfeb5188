"""What shows between the lips: throat, tongue, and two rows of teeth, one fixed to the head and one to the jaw.

A portrait with open lips lends its own teeth; for one with closed lips they are painted in its light. Lengths are
shares of the mouth's width, colours shares of the portrait's light. All of them were chosen by eye on portraits of
256 px, so that speech shows mostly the upper row, and the lower one only where the mouth is wide open.
"""

import cv2
import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import Box, box_around, contour_mask, set_gap, smooth_step, to_levels
from engine.animator.mesh.rig import DESIGN_SIZE_PX, MouthRig
from engine.animator.mesh.teeth import paint_lower_teeth, paint_upper_teeth
from engine.animator.mesh.topology import CHIN, MOUTH_LOWER, MOUTH_UPPER

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

# A gap above this is a portrait with open lips; below it landmarks of closed lips scatter.
_OPEN_AT_REST = 0.045
# Landmarks of lips that touch still gape by this much: it is taken off, or p, b and m would never close. Portraits with
# open lips take twice of it, whose landmarks lie further apart when they shut.
_TOUCHING = 0.022
# Beyond the lips, so that the portrait's own teeth go on under them when the mouth opens wider.
_OWN_MARGIN_PX = 14
# Teeth as shares of the brightness of a white thing in the portrait: a little yellow.
_ENAMEL = (0.97, 0.93, 0.86)
# Lower teeth lie deeper and catch less light.
_LOWER_SHADE = 0.82
# Half the visible width of a row, and how long its teeth are.
_UPPER_HALF, _LOWER_HALF = 0.43, 0.34
_UPPER_LENGTH, _LOWER_LENGTH = 0.21, 0.17
# Without gum above the upper row, a wide-open mouth shows the teeth hanging in the dark.
_GUM_ABOVE = 0.12
# The teeth lie this far behind the lips, which gives them their parallax as the head turns.
_TEETH_DEPTH = 0.05


def build_mouth(
    rgb: UInt8Array,
    landmarks_px: Float64Array,
    points_px: Float64Array,
    rotation: Float64Array,
    down: Float64Array,
    light: Float32Array,
) -> MouthRig:
    """Mouth of a crop (S, S, 3) with landmarks (478, 3) px; closes the lips of ``points_px`` (V, 2) where they touch.

    Args:
        rotation: (3, 3) of the portrait's head pose, canonical face to camera; ``down`` its downward axis (2,).
        light: (3,) colour of a white thing in the portrait.
    """
    unit = rgb.shape[0] / DESIGN_SIZE_PX
    upper, lower = points_px[MOUTH_UPPER].copy(), points_px[MOUTH_LOWER].copy()
    width_px = float(np.linalg.norm(landmarks_px[78] - landmarks_px[308]))
    rest_gap = np.maximum((lower - upper) @ down, 0.0)
    is_open = float(rest_gap[3:8].mean()) > _OPEN_AT_REST * width_px
    shown = rest_gap if is_open else np.zeros_like(rest_gap)
    shut = np.minimum((2.0 if is_open else 1.0) * _TOUCHING * width_px, 0.6 * rest_gap)
    points_px[MOUTH_UPPER], points_px[MOUTH_LOWER] = set_gap(upper, lower, down, shown)
    own, own_box, own_stays = np.zeros((0, 0, 4), np.float32), Box(0, 0, 0, 0), False
    if is_open:
        own_box = box_around(np.concatenate([upper, lower]), _OWN_MARGIN_PX * unit, *rgb.shape[:2])
        own, own_stays, teeth_light = _own_mouth(rgb, upper, lower, own_box, light, unit)
        light = teeth_light if own_stays else light
    forward = rotation[:, 2]
    seam = 0.5 * (landmarks_px[13] + landmarks_px[14])
    if is_open:
        # The upper lip of a smile has risen: the biting edges stay where closed lips would meet.
        seam = landmarks_px[13] + 0.35 * (landmarks_px[14] - landmarks_px[13])
    colour = light * np.array(_ENAMEL, np.float32)
    half_upper, half_lower = _UPPER_HALF * width_px, _LOWER_HALF * width_px
    length_upper, length_lower = _UPPER_LENGTH * width_px, _LOWER_LENGTH * width_px
    gum = _GUM_ABOVE * width_px
    anchor = seam + _TEETH_DEPTH * width_px * forward
    return MouthRig(
        rest_gap_px=rest_gap.astype(np.float32),
        shut_gap_px=shut.astype(np.float32),
        rest_gap_shown_px=shown.astype(np.float32),
        anchor_px=anchor.astype(np.float32),
        chin_px=landmarks_px[CHIN].astype(np.float32),
        width_px=width_px,
        upper_teeth=to_levels(paint_upper_teeth(half_upper, length_upper, gum, colour)),
        lower_teeth=to_levels(paint_lower_teeth(half_lower, length_lower, colour * _LOWER_SHADE)),
        upper_origin_px=np.array([-half_upper - 1.0, 0.03 * width_px - length_upper - gum], np.float32),
        lower_origin_px=np.array([-half_lower - 1.0, -2.0], np.float32),
        own=to_levels(own),
        own_origin_px=(np.array([own_box.left, own_box.top]) - anchor[:2]).astype(np.float32),
        own_stays=own_stays,
        light=light,
    )


def _own_mouth(
    rgb: UInt8Array, upper: Float64Array, lower: Float64Array, box: Box, light: Float32Array, unit: float
) -> tuple[Float32Array, bool, Float32Array]:
    """The portrait's open mouth, continued under both lips, whether it shows teeth, and how bright they are."""
    seen = contour_mask(upper, lower, box)
    image = rgb[box.slices].astype(np.float32)
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None]
    first = rows - seen.below_upper + 0.8 * unit
    last = np.maximum(rows + seen.above_lower - 0.8 * unit, first)
    columns = np.broadcast_to(np.arange(image.shape[1], dtype=np.float32), first.shape)
    inner = np.clip(rows, first, last).astype(np.float32)
    image = cv2.remap(image, np.ascontiguousarray(columns), inner, cv2.INTER_LINEAR)
    gap = seen.below_upper + seen.above_lower
    alpha = np.clip(seen.above_lower / (1.5 * unit) + 1.4, 0.0, 1.0) * np.clip(
        seen.below_upper / (4.0 * unit) + 2.5, 0.0, 1.0
    )
    alpha = alpha * np.clip(gap / (1.5 * unit), 0.0, 1.0) * (np.abs(seen.across) < 1.0)
    inside = seen.coverage > 0.5
    bright = image[inside].mean() if inside.any() else 0.0
    white = np.quantile(image[inside], 0.8, axis=0) if inside.any() else light
    # Above the teeth that show, gum.
    gum = (white * np.array([0.66, 0.42, 0.42]))[None, None]
    into_gum = smooth_step((-seen.below_upper / unit - 0.5) / 3.0)[..., None]
    image = image + (gum - image) * into_gum
    rgba = np.concatenate([image * alpha[..., None], 255.0 * alpha[..., None]], axis=2)
    return rgba.astype(np.float32), bool(bright > 0.45 * light.mean()), white.astype(np.float32)
