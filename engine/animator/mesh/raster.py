"""Painter's-order rasterisation of a textured mesh into a map of source coordinates, without a loop over triangles.

Every triangle is cut into pixel rows, every row into pixels, all by array operations:

    triangle --(rows it touches)--> spans [left, right] --(repeat)--> pixels --(last write wins)--> map

Triangles that face away are left out and the rest is written from far to near, so where the mesh folds over itself the
near side shows. As the border of the mesh stays put, what faces the camera still covers everything inside it. The x at
which a row crosses an edge is always computed from the edge's upper end, so neighbours agree on it and leave no gap.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

_TOLERANCE_PX = 1e-6


def draw_source_map(
    target_px: FloatArray,
    source_px: FloatArray,
    depth: FloatArray,
    triangles: IntArray,
    source_map: npt.NDArray[np.float32],
) -> None:
    """Write, for each pixel that the moved mesh covers, where in the source it comes from.

    Args:
        target_px: (V, 2) moved vertices, x right and y down; pixel centres at integers.
        source_px: (V, 2) the same vertices in the source image.
        depth: (V,) distance from the camera; larger is farther.
        triangles: (F, 3) vertex indices, clockwise as seen where the surface faces the camera.
        source_map: (H, W, 2) float32, C-contiguous, written in place; keeps its value where no triangle falls.
    """
    height, width = source_map.shape[:2]
    x, y = target_px[triangles].transpose(2, 1, 0)
    triangles = triangles[(x[1] - x[0]) * (y[2] - y[0]) > (x[2] - x[0]) * (y[1] - y[0])]
    far_to_near = np.argsort(-depth[triangles].sum(axis=1), kind="stable")
    triangles = triangles[far_to_near]
    down = np.argsort(target_px[triangles, 1], axis=1, kind="stable")
    triangles = np.take_along_axis(triangles, down, axis=1)
    # Complex numbers carry both coordinates of the source in one array pass.
    texture = (source_px[:, 0] + 1j * source_px[:, 1])[triangles]
    x = target_px[:, 0].astype(np.float64)[triangles].T
    y = target_px[:, 1].astype(np.float64)[triangles].T

    rise_long, rise_upper, rise_lower = y[2] - y[0], y[1] - y[0], y[2] - y[1]
    area = (x[1] - x[0]) * rise_long - (x[2] - x[0]) * rise_upper
    row_first = np.ceil(np.maximum(y[0] - _TOLERANCE_PX, 0.0)).astype(np.int64)
    row_last = np.floor(np.minimum(y[2] + _TOLERANCE_PX, height - 1)).astype(np.int64)
    rows = np.where(np.abs(area) > 1e-9, np.maximum(row_last - row_first + 1, 0), 0)
    drawn = np.flatnonzero(rows)
    rows = rows[drawn]
    if rows.size == 0:
        return
    x, y, area, texture = x[:, drawn], y[:, drawn], area[drawn], texture[drawn].T
    rise_long, rise_upper, rise_lower = rise_long[drawn], rise_upper[drawn], rise_lower[drawn]
    slope_long = (x[2] - x[0]) / rise_long
    slope_upper = (x[1] - x[0]) / np.where(rise_upper > 0, rise_upper, np.inf)
    slope_lower = (x[2] - x[1]) / np.where(rise_lower > 0, rise_lower, np.inf)
    step_x = ((texture[1] - texture[0]) * rise_long - (texture[2] - texture[0]) * rise_upper) / area
    step_y = ((texture[2] - texture[0]) * (x[1] - x[0]) - (texture[1] - texture[0]) * (x[2] - x[0])) / area

    # One span for each row of each triangle.
    triangle = np.repeat(np.arange(rows.size), rows)
    first_span = np.cumsum(rows) - rows
    span_y = np.arange(triangle.size) + np.repeat(row_first[drawn] - first_span, rows)
    below_top = span_y - y[0][triangle]
    x_top = x[0][triangle]
    x_long = x_top + below_top * slope_long[triangle]
    below_middle = span_y - y[1][triangle]
    x_short = np.where(
        below_middle < 0,
        x_top + below_top * slope_upper[triangle],
        x[1][triangle] + below_middle * slope_lower[triangle],
    )
    left = np.ceil(np.maximum(np.minimum(x_long, x_short) - _TOLERANCE_PX, 0.0)).astype(np.int64)
    right = np.floor(np.minimum(np.maximum(x_long, x_short) + _TOLERANCE_PX, width - 1)).astype(np.int64)
    pixels = np.maximum(right - left + 1, 0)
    step = step_x[triangle]
    start = texture[0][triangle] + step * (left - x_top) + step_y[triangle] * below_top

    first_pixel = (np.cumsum(pixels) - pixels).astype(np.int32)
    span = np.repeat(np.arange(pixels.size, dtype=np.int32), pixels)
    within = np.arange(span.size, dtype=np.int32)
    within -= first_pixel[span]
    index = (span_y * width + left).astype(np.int32)[span]
    index += within
    value = step.astype(np.complex64)[span]
    value *= within.astype(np.float32)
    value += start.astype(np.complex64)[span]
    source_map.view(np.complex64).reshape(-1)[index] = value
