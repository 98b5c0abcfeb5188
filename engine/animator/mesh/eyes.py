"""Eyeballs of a portrait: a white with the iris taken out, and the iris on a disc that the gaze slides over it.

The pixel widths below were chosen by eye on portraits of 256 px and grow with the crop.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import Box, ContourMask, box_around, contour_mask, to_levels
from engine.animator.mesh.eye_textures import (
    invented_rings,
    invented_white,
    iris_rings,
    suiting_white,
    white_of_eye,
    whole_iris,
)
from engine.animator.mesh.rig import DESIGN_SIZE_PX, ZERO_RESIDUE, EyeRig
from engine.animator.mesh.topology import EYES, Eye

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]

# Landmarks of shut eyes still gape by a fifth to a third of the open eye. A little above that, so that every
# blink shuts; the price is that eyes narrowed to a third are shown shut too.
_SHUT_SHARE = 0.36
# Around the lids, so that the white can be continued under them when they open wider than in the portrait.
_MARGIN_PX = 10.0
# Fewer visible pixels than this are no iris to copy: the eye counts as shut, and one is invented.
_SEEN_IRIS_PIXELS = 12
# A slit (height over width) that shows nothing brighter than this share of a white that suits the skin holds lashes,
# and counts as shut too. Of 1 227 portraits the darkest slit with an eye in it had 0.27.
_SLIT = 0.15
_SLIT_BRIGHTNESS = 0.25
# An eye open by less than this share of the other one winks: the landmarks of a lone shut eye gape. The same portraits
# had 0.48 and more.
_WINK = 0.45


@dataclasses.dataclass(frozen=True, slots=True)
class _SeenEye:
    """What the portrait shows of one eye, in the pixels (h, w) of a box around it.

    Attributes:
        image: (h, w, 3) RGB 0..255. seen: where its pixels lie between the lids.
        visible: (h, w) clear of the lids. distance: (h, w) px from the middle of the iris.
        iris_radius: px. sealed: so little of the iris shows that the eye counts as shut.
    """

    box: Box
    image: Float32Array
    seen: ContourMask
    visible: npt.NDArray[np.bool_]
    distance: Float32Array
    iris_radius: float
    sealed: bool

    @property
    def shows_white(self) -> npt.NDArray[np.bool_]:
        # The iris ends in a darker ring that blurs into the white: a fifth further out the white is clean.
        return self.visible & (self.distance > 1.22 * self.iris_radius)


def build_eyes(
    rgb: UInt8Array, landmarks_px: Float64Array, down: Float64Array, skin: Float32Array
) -> tuple[EyeRig, EyeRig]:
    """Eyes of a crop (S, S, 3) with landmarks (478, 3) px, at image left and right.

    An eye that the portrait shows shut gets the white and the iris of the other one, or, where that is shut too, a
    white that suits the skin and a brown iris.

    Args:
        down: the head's downward axis in the crop, (2,).
        skin: RGB 0..255 of the lit skin.
    """
    unit = rgb.shape[0] / DESIGN_SIZE_PX
    gaps = [float(((landmarks_px[eye.lower] - landmarks_px[eye.upper])[:, :2] @ down).max()) for eye in EYES]
    left, right = (
        _look_at(rgb, landmarks_px, eye, gap, gap < _WINK * max(gaps), skin, unit)
        for eye, gap in zip(EYES, gaps, strict=True)
    )
    return (
        _build_eye(left, right, landmarks_px, EYES[0], down, skin, unit),
        _build_eye(right, left, landmarks_px, EYES[1], down, skin, unit),
    )


def _look_at(
    rgb: UInt8Array,
    landmarks_px: Float64Array,
    eye: Eye,
    gap: float,
    winks: bool,
    skin: Float32Array,
    unit: float,
) -> _SeenEye:
    upper, lower = landmarks_px[eye.upper, :2], landmarks_px[eye.lower, :2]
    box = box_around(np.concatenate([upper, lower]), _MARGIN_PX * unit, *rgb.shape[:2])
    corner = np.array([box.left, box.top], dtype=np.float64)
    centre = landmarks_px[eye.iris[0], :2] - corner
    ring = landmarks_px[eye.iris[1:], :2] - corner
    iris_radius = max(float(np.linalg.norm(ring - centre, axis=1).mean()), 1.5 * unit)
    seen = contour_mask(upper, lower, box)
    image = rgb[box.slices].astype(np.float32)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]).astype(np.float32)
    visible = (seen.below_upper > unit) & (seen.above_lower > 0.6 * unit) & (np.abs(seen.across) < 0.97)
    few = int((visible & (distance < iris_radius)).sum()) < _SEEN_IRIS_PIXELS * unit**2
    slit = gap < _SLIT * float(np.linalg.norm(upper[-1] - upper[0])) and visible.any()
    lashes = slit and float(np.quantile(image[visible].mean(axis=1), 0.9)) < _SLIT_BRIGHTNESS * suiting_white(skin)
    sealed = bool(few or lashes or winks)
    return _SeenEye(box, image, seen, visible, distance, iris_radius, sealed)


def _build_eye(
    own: _SeenEye,
    other: _SeenEye,
    landmarks_px: Float64Array,
    eye: Eye,
    down: Float64Array,
    skin: Float32Array,
    unit: float,
) -> EyeRig:
    upper, lower = landmarks_px[eye.upper, :2], landmarks_px[eye.lower, :2]
    rest_gap = np.maximum((lower - upper) @ down, 0.0)
    image, seen = own.image, own.seen
    if own.sealed:
        # What shows between shut lids is lashes: neither white nor iris may be taken from there.
        lent = other.image[other.shows_white] if not other.sealed else image[:0, 0]
        # In a deep socket the white lies in the shade, as the lids do.
        lids = np.quantile(image.reshape(-1, 3), 0.8, axis=0)
        white = invented_white(lent, np.minimum(skin, lids).astype(np.float32), own.visible.shape, unit)
        visible = np.zeros_like(own.visible)
    else:
        white = white_of_eye(image, own.shows_white, seen.coverage, unit)
        visible = own.visible
    if own.sealed and other.sealed:
        rings = invented_rings(own.iris_radius, float(np.quantile(image, 0.8)), unit)
    else:
        shown = other if own.sealed else own
        rings = iris_rings(shown.image, shown.visible, shown.distance, shown.iris_radius, white, unit)
        if own.sealed:
            rings = rings.scaled(own.iris_radius / shown.iris_radius)
    iris = whole_iris(image, visible, own.distance, own.iris_radius, rings, unit)
    # As they are stored, so that the residue makes up for their rounding too.
    ball, disc = to_levels(white), to_levels(iris)
    composite = ball * (1.0 - disc[..., 3:] / np.float32(255.0)) + disc[..., :3]
    # Beyond the contours the portrait shows lids, which must not come along when the eye opens wider.
    within = np.clip(np.minimum(seen.below_upper, seen.above_lower) / unit + 1.5, 0.0, 1.0)
    if own.sealed:
        within *= 0.0
    residue = (image - composite) * within[..., None]
    near_upper = (np.abs(seen.below_upper) < 1.2 * unit) & (np.abs(seen.across) < 0.8)
    lash = np.quantile(image[near_upper], 0.2, axis=0) if near_upper.any() else np.array([60.0, 45.0, 40.0])
    return EyeRig(
        rest_gap_px=rest_gap.astype(np.float32),
        shut_gap_px=(_SHUT_SHARE * rest_gap).astype(np.float32),
        corners_px=landmarks_px[eye.upper[[0, -1]], :2].astype(np.float32),
        down=down.astype(np.float32),
        sealed=own.sealed,
        origin_px=np.array([own.box.left, own.box.top], np.int32),
        white=ball,
        iris=disc,
        residue=to_levels(residue + ZERO_RESIDUE),
        lash=np.asarray(lash, np.float32),
    )
