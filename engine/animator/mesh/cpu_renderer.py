"""Draws moved rigs on the CPU: skin by its map, then eyes and mouth."""

import dataclasses
import functools

import cv2
import numpy as np

from engine.animator.mesh.layers import draw_eye, draw_mouth, turn_iris
from engine.animator.mesh.raster import draw_source_map, soften_folds, to_fixed_point
from engine.animator.mesh.rig import DESIGN_SIZE_PX, Float32Array, Rig, UInt8Array
from engine.animator.mesh.topology import EYES, MOUTH_LOWER, MOUTH_UPPER
from engine.animator.mesh.vertices import MovedRig, RigTables

# Widths, in pixels of `DESIGN_SIZE_PX`. Half a pixel of blur hides the steps of the lid's edge, and more greys the
# lashes; lips bear a little more.
_LID_SOFTNESS_PX, _LIP_SOFTNESS_PX, _FOLD_SOFTNESS_PX = 0.45, 0.6, 0.8
# Lids have 9 points and lips 11: polygons show their corners from 512 px on, and curves through these points do not.
_CURVE_STEPS = 4
# The outermost pixels never move, so that a head pasted back into its portrait meets it without a seam.
_STILL_BORDER_PX = 8.0
# Bilinear samples of a skin that was enlarged once take a quarter of the time of bicubic ones. Enlarged by Lanczos, a
# talking face of 512 px keeps 97 to 111 % of the portrait's sharpness (variance of the Laplacian, four portraits);
# bicubically 90 to 108 %.
_FINE_TEXELS_PER_PX, _LARGE_TEXELS_PER_PX, _LARGE_PX = 4, 2, 768


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CpuRig:
    """A rig as this renderer needs it.

    Attributes:
        rig: itself.
        tables: for `move`, of one row.
        fine_skin: (n S, n S, 3) uint8 the skin, enlarged by ``texels_per_px``; texel n x is pixel x.
    """

    rig: Rig
    tables: RigTables
    fine_skin: UInt8Array
    texels_per_px: int

    @classmethod
    def of(cls, rig: Rig) -> "CpuRig":
        texels = _FINE_TEXELS_PER_PX if rig.size_px < _LARGE_PX else _LARGE_TEXELS_PER_PX
        places = np.arange(texels * rig.size_px, dtype=np.float32) / texels
        grid = np.meshgrid(places, places)
        fine = cv2.remap(rig.skin, *grid, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        return cls(rig=rig, tables=RigTables.of(rig), fine_skin=fine, texels_per_px=texels)


def draw(prepared: CpuRig, moved: MovedRig) -> UInt8Array:
    """Frame (S, S, 3) uint8 of the rig in a motion of one row."""
    return _draw(prepared, moved)[0]


def draw_with_map(prepared: CpuRig, moved: MovedRig) -> tuple[UInt8Array, Float32Array]:
    """`draw`'s frame, and the place in the portrait of each of its pixels, (S, S, 2) x, y px; irises where they look.

    Pixel centres are at integers. What the portrait does not show (the inside of the mouth, the white behind an iris)
    points to what lies near it.
    """
    frame, source_map = _draw(prepared, moved)
    rig = prepared.rig
    points, irises = moved.positions_BV2[0].numpy(), moved.iris_BE23[0].numpy()
    unit = rig.size_px / DESIGN_SIZE_PX
    kernel = _blur(_LID_SOFTNESS_PX, unit)
    for side, (eye, indices) in enumerate(zip(rig.eyes, EYES, strict=True)):
        lids = _curve(points[indices.upper]), _curve(points[indices.lower])
        turn_iris(source_map, *lids, eye.iris, irises[side], eye.origin_px, unit, kernel)
    return frame, source_map


def _draw(prepared: CpuRig, moved: MovedRig) -> tuple[UInt8Array, Float32Array]:
    rig, size = prepared.rig, prepared.rig.size_px
    unit = size / DESIGN_SIZE_PX
    points, depth = moved.positions_BV2[0].numpy(), moved.depth_BV[0].numpy()
    source_map = np.empty((size, size, 2), np.float32)
    draw_source_map(points, depth, rig.source_px, rig.triangles, _STILL_BORDER_PX * unit, source_map)
    whole, fraction = np.empty((size, size, 2), np.int16), np.empty((size, size), np.uint16)
    to_fixed_point(source_map, prepared.texels_per_px, whole, fraction)
    frame = np.asarray(
        cv2.remap(prepared.fine_skin, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    soften_folds(frame, source_map, _blur(_FOLD_SOFTNESS_PX, unit))
    balls, irises = moved.ball_BE23[0].numpy(), moved.iris_BE23[0].numpy()
    still, shut, scale = moved.still_BE[0].tolist(), moved.lids_shut_BE[0].tolist(), float(moved.scale_B[0])
    kernel = _blur(_LID_SOFTNESS_PX, unit)
    for side, (eye, indices) in enumerate(zip(rig.eyes, EYES, strict=True)):
        draw_eye(
            frame,
            _curve(points[indices.upper]),
            _curve(points[indices.lower]),
            eye.white,
            eye.iris,
            eye.residue,
            eye.lash,
            balls[side],
            irises[side],
            still[side],
            shut[side],
            rig.eyeball_radius_px,
            unit,
            kernel,
        )
    mouth = rig.mouth
    draw_mouth(
        frame,
        _curve(points[MOUTH_UPPER]),
        _curve(points[MOUTH_LOWER]),
        mouth.upper_teeth,
        mouth.lower_teeth,
        mouth.own,
        mouth.light,
        moved.teeth_BE23[0].numpy(),
        moved.own_B23[0].numpy(),
        float(moved.own_share_B[0]),
        float(moved.lips_shut_B[0]),
        mouth.width_px * scale,
        unit,
        _blur(_LIP_SOFTNESS_PX, unit),
    )
    return frame, source_map


def _blur(sigma_px: float, unit: float) -> Float32Array:
    """Kernel (2 r + 1,) of a Gaussian blur, cut after one pixel of `DESIGN_SIZE_PX`."""
    return np.asarray(cv2.getGaussianKernel(2 * max(1, round(unit)) + 1, sigma_px * unit), np.float32)[:, 0]


def _curve(contour: Float32Array) -> Float32Array:
    """A contour (N, 2) as a smooth curve through its points, (4 N - 3, 2)."""
    return np.asarray(_curve_matrix(len(contour)) @ contour, np.float32)


@functools.cache
def _curve_matrix(count: int) -> Float32Array:
    """From points to points of the uniform Catmull-Rom spline through them; the ends are continued straight on."""
    rows = []
    # Each point as a row of weights, with one more before the first and after the last.
    points = np.eye(count)
    points = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    for segment in range(count - 1):
        before, start, stop, after = points[segment : segment + 4]
        for t in np.arange(_CURVE_STEPS) / _CURVE_STEPS:
            rows.append(
                0.5
                * (
                    2 * start
                    + (stop - before) * t
                    + (2 * before - 5 * start + 4 * stop - after) * t**2
                    + (3 * start - before - 3 * stop + after) * t**3
                )
            )
    return np.asarray([*rows, points[-2]], np.float32)
