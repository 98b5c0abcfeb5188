"""The textured mesh as a map of source coordinates, compiled, with a depth buffer.

Neighbouring triangles share the arithmetic of the edge between them (the x at which a row crosses an edge is computed
from the edge's upper end), so they leave no gap. As the border of the mesh stays put, what faces the camera covers
everything inside it.
"""

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

from engine.animator.mesh.rig import Float32Array, Int32Array, UInt8Array

_TOLERANCE_PX = 1e-6
# Neighbouring pixels that come from places further apart than this, in source pixels, lie on two sides of a fold; a
# face that stretches by less is skin, which must stay sharp.
_FOLD_STRETCH = 3.5
_FRACTION_BITS = 5
"""Of the fixed-point maps that OpenCV takes, see its `convertMaps`."""

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile ``function`` on its first call, without the GIL while it runs.

    The machine code is kept beside the module, or in the user's cache where that folder cannot be written. Where
    neither can, it is compiled anew in every process.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        made: _Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder to keep it in
        made = numba.njit(**options)(function)
    return made


@compiled
def draw_source_map(
    target_px: Float32Array,
    depth: Float32Array,
    source_px: Float32Array,
    triangles: Int32Array,
    still_border_px: float,
    source_map: Float32Array,
) -> None:
    """For each pixel of the frame, its place in the portrait, (S, S, 2) px, into ``source_map``.

    Args:
        target_px: (V, 2) moved vertices; pixel centres at integers.
        depth: (V,) distance from the camera; larger is farther.
        source_px: (V, 2) the same vertices in the portrait.
        triangles: (F, 3) clockwise as seen where the surface faces the camera.
        still_border_px: over the outermost pixels the map is eased to the identity.
    """
    size = source_map.shape[0]
    nearest = np.empty((size, size), np.float32)
    for y in range(size):
        for x in range(size):
            nearest[y, x] = np.inf
            source_map[y, x, 0] = x
            source_map[y, x, 1] = y
    for triangle in range(triangles.shape[0]):
        i, j, k = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
        x0, y0 = float(target_px[i, 0]), float(target_px[i, 1])
        x1, y1 = float(target_px[j, 0]), float(target_px[j, 1])
        x2, y2 = float(target_px[k, 0]), float(target_px[k, 1])
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not area > 1e-9:
            continue
        # Place and depth are linear in x and y: value = start + along_x * x + along_y * y.
        u0, v0, z0 = source_px[i, 0], source_px[i, 1], depth[i]
        u1, v1, z1 = source_px[j, 0] - u0, source_px[j, 1] - v0, depth[j] - z0
        u2, v2, z2 = source_px[k, 0] - u0, source_px[k, 1] - v0, depth[k] - z0
        ux, uy = (u1 * (y2 - y0) - u2 * (y1 - y0)) / area, (u2 * (x1 - x0) - u1 * (x2 - x0)) / area
        vx, vy = (v1 * (y2 - y0) - v2 * (y1 - y0)) / area, (v2 * (x1 - x0) - v1 * (x2 - x0)) / area
        zx, zy = (z1 * (y2 - y0) - z2 * (y1 - y0)) / area, (z2 * (x1 - x0) - z1 * (x2 - x0)) / area
        u_start, v_start = u0 - ux * x0 - uy * y0, v0 - vx * x0 - vy * y0
        z_start = z0 - zx * x0 - zy * y0
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if y2 < y1:
            x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        first = max(0, int(np.ceil(y0 - _TOLERANCE_PX)))
        last = min(size - 1, int(np.floor(y2 + _TOLERANCE_PX)))
        slope_long = (x2 - x0) / (y2 - y0)
        slope_upper = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
        slope_lower = (x2 - x1) / (y2 - y1) if y2 > y1 else 0.0
        for y in range(first, last + 1):
            x_long = x0 + (y - y0) * slope_long
            x_short = x0 + (y - y0) * slope_upper if y < y1 else x1 + (y - y1) * slope_lower
            left = max(0, int(np.ceil(min(x_long, x_short) - _TOLERANCE_PX)))
            right = min(size - 1, int(np.floor(max(x_long, x_short) + _TOLERANCE_PX)))
            u_row, v_row, z_row = u_start + uy * y, v_start + vy * y, z_start + zy * y
            for x in range(left, right + 1):
                z = np.float32(z_row + zx * x)
                if z < nearest[y, x]:
                    nearest[y, x] = z
                    source_map[y, x, 0] = u_row + ux * x
                    source_map[y, x, 1] = v_row + vx * x
    border = int(np.ceil(still_border_px))
    for y in range(size):
        x = 0
        while x < size:
            share = min(min(x, size - 1 - x), min(y, size - 1 - y)) / still_border_px
            if share < 1.0:
                source_map[y, x, 0] = x + (source_map[y, x, 0] - x) * share
                source_map[y, x, 1] = y + (source_map[y, x, 1] - y) * share
                x += 1
            else:
                x = max(x + 1, size - border)


@compiled
def to_fixed_point(source_map: Float32Array, texels_per_px: int, whole: np.ndarray, fraction: np.ndarray) -> None:
    """The map in texels as OpenCV's `remap` samples it fastest: int16 (S, S, 2), and uint16 (S, S) table indices."""
    steps = 1 << _FRACTION_BITS
    for y in range(source_map.shape[0]):
        for x in range(source_map.shape[1]):
            u = int(np.floor(source_map[y, x, 0] * texels_per_px * steps + 0.5))
            v = int(np.floor(source_map[y, x, 1] * texels_per_px * steps + 0.5))
            whole[y, x, 0] = u >> _FRACTION_BITS
            whole[y, x, 1] = v >> _FRACTION_BITS
            fraction[y, x] = ((v & (steps - 1)) << _FRACTION_BITS) | (u & (steps - 1))


@compiled
def soften_folds(frame: UInt8Array, source_map: Float32Array, kernel: Float32Array) -> None:
    """Anti-alias where one part of the mesh passes in front of another: blur across the jumps of the map, in place.

    Args:
        kernel: (2 r + 1,) of a separable blur.
    """
    size, radius = frame.shape[0], kernel.shape[0] // 2
    marked = np.zeros((size, size), np.uint8)
    count = 0
    for y in range(size):
        for x in range(size):
            u, v = source_map[y, x, 0], source_map[y, x, 1]
            if x + 1 < size and abs(source_map[y, x + 1, 0] - u) + abs(source_map[y, x + 1, 1] - v) > _FOLD_STRETCH:
                count += (1 - marked[y, x]) + (1 - marked[y, x + 1])
                marked[y, x] = marked[y, x + 1] = 1
            if y + 1 < size and abs(source_map[y + 1, x, 0] - u) + abs(source_map[y + 1, x, 1] - v) > _FOLD_STRETCH:
                count += (1 - marked[y, x]) + (1 - marked[y + 1, x])
                marked[y, x] = marked[y + 1, x] = 1
    if count == 0:
        return
    softened = np.empty((count, 3), np.uint8)
    at = 0
    for y in range(size):
        for x in range(size):
            if marked[y, x]:
                for channel in range(3):
                    total = np.float32(0.5)
                    for dy in range(-radius, radius + 1):
                        row = min(max(y + dy, 0), size - 1)
                        for dx in range(-radius, radius + 1):
                            column = min(max(x + dx, 0), size - 1)
                            total += kernel[dy + radius] * kernel[dx + radius] * frame[row, column, channel]
                    softened[at, channel] = np.uint8(total)
                at += 1
    at = 0
    for y in range(size):
        for x in range(size):
            if marked[y, x]:
                for channel in range(3):
                    frame[y, x, channel] = softened[at, channel]
                at += 1
