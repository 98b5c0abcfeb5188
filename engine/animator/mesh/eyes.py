"""Eyeballs of a portrait: a white with the iris taken out, and the iris on a disc that the gaze slides over it.

The pixel widths below were chosen by eye on portraits of 256 px and grow with the crop.
"""

import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import box_around, contour_mask, to_levels
from engine.animator.mesh.eye_textures import white_of_eye, whole_iris
from engine.animator.mesh.rig import DESIGN_SIZE_PX, ZERO_RESIDUE, EyeRig
from engine.animator.mesh.topology import Eye

Float64Array = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]

# Landmarks of shut eyes still gape by a fifth to a third of the open eye. A little above that, so that every
# blink shuts; the price is that eyes narrowed to a third are shown shut too.
_SHUT_SHARE = 0.36
# Around the lids, so that the white can be continued under them when they open wider than in the portrait.
_MARGIN_PX = 10.0
# Fewer visible pixels than this are no iris to copy: the eye counts as shut, and one is invented.
_SEEN_IRIS_PIXELS = 12


def build_eye(
    rgb: UInt8Array,
    landmarks_px: Float64Array,
    eye: Eye,
    down: Float64Array,
) -> EyeRig:
    """Eye of a crop (S, S, 3) with landmarks (478, 3) px. ``down``: the head's downward axis in it, (2,)."""
    unit = rgb.shape[0] / DESIGN_SIZE_PX
    upper, lower = landmarks_px[eye.upper, :2], landmarks_px[eye.lower, :2]
    rest_gap = np.maximum((lower - upper) @ down, 0.0)
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
    # The iris ends in a darker ring that blurs into the white: a fifth further out the white is clean.
    white = white_of_eye(image, visible & (distance > 1.22 * iris_radius), seen.coverage, unit)
    sealed = int((visible & (distance < iris_radius)).sum()) < _SEEN_IRIS_PIXELS * unit**2
    iris = whole_iris(image, visible, distance, iris_radius, white, sealed, unit)
    # As they are stored, so that the residue makes up for their rounding too.
    ball, disc = to_levels(white), to_levels(iris)
    composite = ball * (1.0 - disc[..., 3:] / np.float32(255.0)) + disc[..., :3]
    # Beyond the contours the portrait shows lids, which must not come along when the eye opens wider.
    within = np.clip(np.minimum(seen.below_upper, seen.above_lower) / unit + 1.5, 0.0, 1.0)
    if sealed:
        within *= 0.0
    residue = (image - composite) * within[..., None]
    near_upper = (np.abs(seen.below_upper) < 1.2 * unit) & (np.abs(seen.across) < 0.8)
    lash = np.quantile(image[near_upper], 0.2, axis=0) if near_upper.any() else np.array([60.0, 45.0, 40.0])
    return EyeRig(
        rest_gap_px=rest_gap.astype(np.float32),
        shut_gap_px=(_SHUT_SHARE * rest_gap).astype(np.float32),
        corners_px=landmarks_px[eye.upper[[0, -1]], :2].astype(np.float32),
        down=down.astype(np.float32),
        sealed=sealed,
        origin_px=np.array([box.left, box.top], np.int32),
        white=ball,
        iris=disc,
        residue=to_levels(residue + ZERO_RESIDUE),
        lash=np.asarray(lash, np.float32),
    )
