"""Eyeballs between the lids and the inside of the mouth between the lips, compiled for the CPU.

upper  o--o--o--o--o        a contour runs left to right; both share their corners
      <   opening   >
lower  o--o--o--o--o
"""

import numpy as np

from engine.animator.mesh.raster import compiled
from engine.animator.mesh.rig import ZERO_RESIDUE, Float32Array, UInt8Array

# The portrait holds the shadow of its own lid; a moved eyeball gets one of its own, so deep and fading within this
# share of the eyeball: without it, turned eyes look stuck on.
_LID_SHADOW, _LID_SHADOW_REACH = 0.28, 0.22
_LASH_STRENGTH, _SEAM_STRENGTH = 0.6, 0.5
# Colours as shares of the brightness of a white thing in the portrait: the throat nearly black, flesh of the tongue,
# and the shadow where lips meet.
_THROAT = np.array([0.17, 0.075, 0.07], np.float32)
_FLESH = np.array([0.50, 0.25, 0.24], np.float32)
_SEAM = np.array([0.36, 0.17, 0.16], np.float32)


@compiled
def _height_at(x: float, contour: Float32Array) -> float:
    """y of a contour (N, 2) at x; one that doubles back (extreme roll) is read as a vertical step."""
    reach = contour[0, 0]
    if x <= reach:
        return float(contour[0, 1])
    for point in range(1, contour.shape[0]):
        ahead = max(contour[point, 0], reach)
        if x < ahead:
            share = (x - reach) / (ahead - reach)
            return float(contour[point - 1, 1] + share * (contour[point, 1] - contour[point - 1, 1]))
        reach = ahead
    return float(contour[contour.shape[0] - 1, 1])


@compiled
def opening(
    upper: Float32Array, lower: Float32Array, margin: float, size: int, kernel: Float32Array
) -> tuple[int, int, Float32Array, Float32Array]:
    """What two contours (N, 2) enclose, in a box around them.

    Args:
        kernel: (2 r + 1,) of the separable blur that softens the edge.

    Returns:
        left, top: of the box in the frame, which it does not leave.
        coverage: (h, w) share of each pixel between the contours, 0..1; exact along columns before it is softened, so
            that it vanishes as the contours meet.
        edges: (2, w) y of either contour in each column.
    """
    left = max(0, int(np.floor(min(upper[:, 0].min(), lower[:, 0].min()) - margin)))
    top = max(0, int(np.floor(min(upper[:, 1].min(), lower[:, 1].min()) - margin)))
    right = min(size, int(np.ceil(max(upper[:, 0].max(), lower[:, 0].max()) + margin)) + 1)
    bottom = min(size, int(np.ceil(max(upper[:, 1].max(), lower[:, 1].max()) + margin)) + 1)
    width, height = max(0, right - left), max(0, bottom - top)
    hard = np.zeros((height, width), np.float32)
    edges = np.empty((2, width), np.float32)
    first, last = upper[0, 0], upper[upper.shape[0] - 1, 0]
    for column in range(width):
        x = left + column
        edges[0, column] = _height_at(x, upper)
        edges[1, column] = _height_at(x, lower)
        inside = min(max(min(x - first, last - x) + 0.5, 0.0), 1.0)
        for row in range(height):
            y = top + row
            part = min(edges[1, column], y + 0.5) - max(edges[0, column], y - 0.5)
            hard[row, column] = min(max(part, 0.0), 1.0) * inside
    radius = kernel.shape[0] // 2
    halfway = np.zeros_like(hard)
    for row in range(height):
        for column in range(width):
            for step in range(-radius, radius + 1):
                if 0 <= row + step < height:
                    halfway[row, column] += kernel[step + radius] * hard[row + step, column]
    coverage = np.zeros_like(hard)
    for row in range(height):
        for column in range(width):
            for step in range(-radius, radius + 1):
                if 0 <= column + step < width:
                    coverage[row, column] += kernel[step + radius] * halfway[row, column + step]
    return left, top, coverage, edges


@compiled
def _cubic_weights(t: float, weights: Float32Array) -> None:
    """Of the four neighbours at t in [0, 1) after the second, as OpenCV's INTER_CUBIC has them (A = -0.75)."""
    a = -0.75
    before, after = t + 1.0, 1.0 - t
    weights[0] = ((a * before - 5.0 * a) * before + 8.0 * a) * before - 4.0 * a
    weights[1] = ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    weights[2] = ((a + 2.0) * after - (a + 3.0)) * after * after + 1.0
    weights[3] = 1.0 - weights[0] - weights[1] - weights[2]


@compiled
def _sample_cubic(texture: UInt8Array, u: float, v: float, weights: Float32Array, value: Float32Array) -> None:
    """Bicubic value of a texture (h, w, C) at (u, v), which is continued beyond its edge; weights (2, 4) is scratch."""
    height, width, channels = texture.shape
    u0, v0 = int(np.floor(u)), int(np.floor(v))
    _cubic_weights(u - u0, weights[0])
    _cubic_weights(v - v0, weights[1])
    for channel in range(channels):
        value[channel] = 0.0
    for j in range(4):
        row = min(max(v0 + j - 1, 0), height - 1)
        for i in range(4):
            column = min(max(u0 + i - 1, 0), width - 1)
            weight = weights[1, j] * weights[0, i]
            for channel in range(channels):
                value[channel] += weight * texture[row, column, channel]


@compiled
def _lay_over(texture: UInt8Array, u: float, v: float, share: float, below: Float32Array) -> None:
    """Lay the bilinear value of a premultiplied RGBA texture, clear beyond its edge, over a colour (3,), in place."""
    height, width = texture.shape[0], texture.shape[1]
    if not (-1.0 < u < width and -1.0 < v < height):
        return
    u0, v0 = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - u0, v - v0
    red = green = blue = alpha = 0.0
    for j in range(2):
        row = v0 + j
        if row < 0 or row >= height:
            continue
        for i in range(2):
            column = u0 + i
            if column < 0 or column >= width:
                continue
            weight = (fu if i else 1.0 - fu) * (fv if j else 1.0 - fv) * share
            red += weight * texture[row, column, 0]
            green += weight * texture[row, column, 1]
            blue += weight * texture[row, column, 2]
            alpha += weight * texture[row, column, 3]
    rest = 1.0 - alpha / 255.0
    below[0] = below[0] * rest + red
    below[1] = below[1] * rest + green
    below[2] = below[2] * rest + blue


@compiled
def _blend(pixel: UInt8Array, colour: Float32Array, alpha: float) -> None:
    for channel in range(3):
        value = pixel[channel] + (colour[channel] - pixel[channel]) * alpha + 0.5
        pixel[channel] = np.uint8(min(max(value, 0.0), 255.0))


@compiled
def _smooth_step(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


@compiled
def draw_eye(
    frame: UInt8Array,
    upper: Float32Array,
    lower: Float32Array,
    white: UInt8Array,
    iris: UInt8Array,
    residue: UInt8Array,
    lash: Float32Array,
    ball_matrix: Float32Array,
    iris_matrix: Float32Array,
    still: float,
    shut: float,
    eyeball_radius_px: float,
    unit: float,
    kernel: Float32Array,
) -> None:
    """Draw an eyeball between its lids, and a dark line where they meet; in place.

    ``unit`` is the frame's size over `DESIGN_SIZE_PX`; other arguments as `EyeRig` and `MovedRig` have them.
    """
    left, top, coverage, edges = opening(upper, lower, 3.0 * unit, frame.shape[0], kernel)
    first, last = upper[0, 0], upper[upper.shape[0] - 1, 0]
    middle, half = 0.5 * (first + last), max(0.5 * (last - first), 1e-6)
    weights = np.empty((2, 4), np.float32)
    ball, disc, rest = np.empty(3, np.float32), np.empty(4, np.float32), np.empty(3, np.float32)
    for row in range(coverage.shape[0]):
        y = top + row
        for column in range(coverage.shape[1]):
            x = left + column
            below_upper = y - edges[0, column]
            if coverage[row, column] > 0.0:
                u = ball_matrix[0, 0] * x + ball_matrix[0, 1] * y + ball_matrix[0, 2]
                v = ball_matrix[1, 0] * x + ball_matrix[1, 1] * y + ball_matrix[1, 2]
                _sample_cubic(white, u, v, weights, ball)
                iris_u = iris_matrix[0, 0] * x + iris_matrix[0, 1] * y + iris_matrix[0, 2]
                iris_v = iris_matrix[1, 0] * x + iris_matrix[1, 1] * y + iris_matrix[1, 2]
                _sample_cubic(iris, iris_u, iris_v, weights, disc)
                around = 1.0 - min(max(disc[3] / 255.0, 0.0), 1.0)
                reach = max(below_upper, 0.0) / (_LID_SHADOW_REACH * eyeball_radius_px)
                light = 1.0 - _LID_SHADOW * (1.0 - still) * np.exp(-reach)
                for channel in range(3):
                    ball[channel] = (ball[channel] * around + disc[channel]) * light
                # Near its rest the portrait's own eye is shown, lid shadow, reflections and all.
                if still > 0.01:
                    _sample_cubic(residue, u, v, weights, rest)
                    for channel in range(3):
                        ball[channel] += still * (rest[channel] - ZERO_RESIDUE)
                _blend(frame[y, x], ball, coverage[row, column])
            if shut > 0.01:
                # Just below the upper lid, thinning out towards the corners; shut eyes would look sealed without it.
                depth = (below_upper / unit - 0.3) / 0.85
                across = abs(x - middle) / half
                line = np.exp(-depth * depth) * min(max(4.0 - 4.0 * across, 0.0), 1.0)
                _blend(frame[y, x], lash, _LASH_STRENGTH * shut * line)


@compiled
def turn_iris(
    source_map: Float32Array,
    upper: Float32Array,
    lower: Float32Array,
    iris: UInt8Array,
    iris_matrix: Float32Array,
    origin_px: np.ndarray,
    unit: float,
    kernel: Float32Array,
) -> None:
    """Let the map (S, S, 2) of source places show the turned iris between the lids; in place."""
    left, top, coverage, _ = opening(upper, lower, unit, source_map.shape[0], kernel)
    weights, disc = np.empty((2, 4), np.float32), np.empty(4, np.float32)
    for row in range(coverage.shape[0]):
        y = top + row
        for column in range(coverage.shape[1]):
            x = left + column
            u = iris_matrix[0, 0] * x + iris_matrix[0, 1] * y + iris_matrix[0, 2]
            v = iris_matrix[1, 0] * x + iris_matrix[1, 1] * y + iris_matrix[1, 2]
            _sample_cubic(iris, u, v, weights, disc)
            share = min(max(disc[3] / 255.0, 0.0), 1.0) * coverage[row, column]
            source_map[y, x, 0] += (u + origin_px[0] - source_map[y, x, 0]) * share
            source_map[y, x, 1] += (v + origin_px[1] - source_map[y, x, 1]) * share


@compiled
def draw_mouth(
    frame: UInt8Array,
    upper: Float32Array,
    lower: Float32Array,
    upper_teeth: UInt8Array,
    lower_teeth: UInt8Array,
    own: UInt8Array,
    light: Float32Array,
    teeth_matrices: Float32Array,
    own_matrix: Float32Array,
    own_share: float,
    shut: float,
    width_px: float,
    unit: float,
    kernel: Float32Array,
) -> None:
    """Draw throat, tongue and teeth between the lips, and a shadow where they meet; in place.

    ``width_px`` is the mouth's in the frame, ``unit`` as for `draw_eye`; others as `MouthRig` and `MovedRig` have them.
    """
    left, top, coverage, edges = opening(upper, lower, 2.0 * unit, frame.shape[0], kernel)
    first, last = upper[0, 0], upper[upper.shape[0] - 1, 0]
    middle, half = 0.5 * (first + last), max(0.5 * (last - first), 1e-6)
    throat, flesh, seam = light * _THROAT, light * _FLESH, light * _SEAM
    inside = np.empty(3, np.float32)
    for row in range(coverage.shape[0]):
        y = top + row
        for column in range(coverage.shape[1]):
            x = left + column
            below_upper, above_lower = y - edges[0, column], edges[1, column] - y
            across = (x - middle) / half
            if shut > 0.01:
                depth = below_upper / unit
                line = np.exp(-depth * depth) * min(max(3.0 - 3.0 * abs(across), 0.0), 1.0)
                _blend(frame[y, x], seam, _SEAM_STRENGTH * shut * line)
            if coverage[row, column] <= 0.0:
                continue
            # Dark red, with the tongue rising from the lower lip: it fills the lower half, from a gap of a tenth of the
            # mouth's width on.
            gap = max(below_upper + above_lower, 1e-3)
            tongue = _smooth_step((0.55 - above_lower / gap) / 0.4) * _smooth_step((gap / width_px - 0.10) / 0.25)
            tongue *= min(max(1.0 - (across / 0.75) ** 2, 0.0), 1.0)
            for channel in range(3):
                inside[channel] = throat[channel] + (flesh[channel] - throat[channel]) * tongue
            for teeth in range(2):
                matrix = teeth_matrices[1 - teeth]
                u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
                v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
                _lay_over(upper_teeth if teeth else lower_teeth, u, v, 1.0, inside)
            # Less light comes under the upper lip, into the corners and through a narrow gap.
            lit = 0.72 + 0.28 * _smooth_step(below_upper / (0.07 * width_px))
            lit *= 0.80 + 0.20 * _smooth_step(above_lower / (0.06 * width_px))
            lit *= 1.0 - 0.65 * min(abs(across), 1.0) ** 3
            for channel in range(3):
                inside[channel] *= lit
            if own_share > 0.0:
                u = own_matrix[0, 0] * x + own_matrix[0, 1] * y + own_matrix[0, 2]
                v = own_matrix[1, 0] * x + own_matrix[1, 1] * y + own_matrix[1, 2]
                _lay_over(own, u, v, own_share, inside)
            _blend(frame[y, x], inside, coverage[row, column])
