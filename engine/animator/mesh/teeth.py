"""Painted rows of teeth, for portraits that show none.

Proportions, gum, seams and shading were chosen by eye, so that a row that is a tenth of the image wide reads as teeth,
not as a bar.
"""

import cv2
import numpy as np
import numpy.typing as npt

from engine.animator.mesh.rig import TEXELS_PER_PX

Float32Array = npt.NDArray[np.float32]

# Painted finer than they are kept, for anti-aliasing.
_PAINT_SCALE = 4

# Widths of the teeth from the middle outwards, as shares of half the row.
_UPPER_WIDTHS = (0.255, 0.195, 0.205, 0.150, 0.120, 0.075)
_UPPER_LENGTHS = (1.00, 0.95, 0.98, 0.92, 0.87, 0.82)
_LOWER_WIDTHS = (0.165, 0.175, 0.190, 0.180, 0.160, 0.130)
_LOWER_LENGTHS = (0.96, 0.97, 1.00, 0.95, 0.92, 0.90)


def paint_upper_teeth(half_width_px: float, length_px: float, gum_px: float, colour: Float32Array) -> Float32Array:
    """Upper row as an RGBA texture (h, w, 4) float32 0..255, premultiplied; its biting edge is towards the bottom.

    Args:
        gum_px: gum above the teeth, beyond ``length_px``, which shows where the upper lip is drawn up.
    """
    return _paint_row(half_width_px, length_px, colour, _UPPER_WIDTHS, _UPPER_LENGTHS, gum_share=0.22, above_px=gum_px)


def paint_lower_teeth(half_width_px: float, length_px: float, colour: Float32Array) -> Float32Array:
    """Lower row, likewise; its biting edge is towards the top."""
    row = _paint_row(half_width_px, length_px, colour, _LOWER_WIDTHS, _LOWER_LENGTHS, gum_share=0.18)
    return np.ascontiguousarray(row[::-1])


def _paint_row(
    half_width_px: float,
    length_px: float,
    colour: Float32Array,
    widths: tuple[float, ...],
    lengths: tuple[float, ...],
    gum_share: float,
    above_px: float = 0.0,
) -> Float32Array:
    fine = TEXELS_PER_PX * _PAINT_SCALE
    half = round(half_width_px * fine)
    height = round(length_px * fine)
    canvas = np.zeros((height, 2 * half, 3), np.float32)
    alpha = np.zeros((height, 2 * half), np.float32)
    gum = colour * np.array([0.72, 0.42, 0.42], np.float32)
    gum_line = gum_share * height
    start = 0.0
    for width, length in zip(widths, lengths, strict=True):
        stop = start + width
        away = 0.5 * (start + stop)
        # The arch bends back: outer teeth catch less light.
        shade = 1.0 - 0.50 * away**1.6
        for side in (-1, 1):
            left, right = sorted((half + side * start * half, half + side * stop * half))
            tooth = np.zeros((height, 2 * half), np.uint8)
            inset = 0.035 * (right - left)
            _fill_tooth(tooth, left + inset, right - inset, 0.0, length * height)
            mask = (tooth > 0)[..., None]
            canvas = np.where(mask, _tooth_colour(colour * shade, left, right, canvas.shape), canvas)
            alpha = np.maximum(alpha, tooth.astype(np.float32) / 255.0)
        start = stop
    row = np.arange(height, dtype=np.float32)[:, None]
    # Dark seams between teeth belong to the row: only below the biting edges is it clear.
    reach = np.interp(
        np.abs(np.arange(2 * half) - half) / half,
        np.cumsum(widths) - 0.5 * np.array(widths),
        np.array(lengths) * height * 0.92,
    )
    seam = (row < reach) & (alpha < 0.5)
    canvas = np.where(seam[..., None], np.float32(0.68) * colour, canvas)
    alpha = np.maximum(alpha, seam.astype(np.float32))
    into_gum = np.clip((gum_line - row) / (0.10 * height) + 0.5, 0.0, 1.0)[..., None].astype(np.float32)
    canvas = canvas * (1.0 - into_gum) + gum * into_gum
    far = np.clip((np.abs(np.arange(2 * half) - half) / half - 0.82) / 0.18, 0.0, 1.0)
    alpha *= (1.0 - far).astype(np.float32)
    rgba = np.concatenate([canvas * alpha[..., None], 255.0 * alpha[..., None]], axis=2).astype(np.float32)
    above = _PAINT_SCALE * max(1, round(above_px * TEXELS_PER_PX))
    rgba = np.pad(rgba, ((above, 2 * fine), (fine, fine), (0, 0)))
    # Gum goes on above, into the shadow of the lip.
    light = np.linspace(0.45, 1.0, above, dtype=np.float32)[:, None, None]
    rgba[:above] = rgba[above] * np.concatenate([light, light, light, np.ones_like(light)], axis=2)
    size = (rgba.shape[1] // _PAINT_SCALE, rgba.shape[0] // _PAINT_SCALE)
    small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 0.9), np.float32)


def _tooth_colour(colour: Float32Array, left: float, right: float, shape: tuple[int, ...]) -> Float32Array:
    """Rounded shading: brightest in the middle, darker to both sides."""
    column = (np.arange(shape[1], dtype=np.float32) - 0.5 * (left + right)) / (0.5 * (right - left))
    shade = 1.0 - 0.10 * np.clip(np.abs(column), 0.0, 1.0) ** 3
    return np.asarray(shade[None, :, None] * colour, np.float32)


def _fill_tooth(canvas: npt.NDArray[np.uint8], left: float, right: float, top: float, bottom: float) -> None:
    """Tooth with a rounded biting edge, filled with 255 in place."""
    width = right - left
    angle = np.linspace(0.0, np.pi, 13)
    round_px = min(0.22 * width, 0.3 * (bottom - top))
    x = 0.5 * (left + right) + 0.5 * width * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.4
    y = bottom - round_px + round_px * np.sin(angle) ** 0.8
    outline = np.concatenate([[[left, top], [right, top]], np.stack([x, y], axis=1)])
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], 255, shift=4)
