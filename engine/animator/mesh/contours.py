"""Pixels between two contours (lips, lids), and how far the contours gape.

upper  o--o--o--o--o        both run left to right and share their corners
      <   opening   >
lower  o--o--o--o--o
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """Part of an image, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top


@dataclasses.dataclass(frozen=True, slots=True)
class ContourMask:
    """Where the pixels of a box lie between two contours.

    Attributes:
        coverage: (h, w) share of each pixel between the contours, 0..1; exact along columns, so it is anti-aliased and
            vanishes as the contours meet.
        below_upper, above_lower: (h, w) signed distance in px along the column to either contour.
        across: (w,) -1 at the left corner, 1 at the right one.
    """

    coverage: Float32Array
    below_upper: Float32Array
    above_lower: Float32Array
    across: Float32Array


def box_around(points_px: Float64Array, margin_px: float, height: int, width: int) -> Box:
    """Smallest box inside an image of ``height`` x ``width`` that holds points (N, 2) with a margin."""
    low = np.floor(points_px.min(axis=0) - margin_px).astype(int)
    high = np.ceil(points_px.max(axis=0) + margin_px).astype(int) + 1
    return Box(
        left=int(np.clip(low[0], 0, width)),
        top=int(np.clip(low[1], 0, height)),
        right=int(np.clip(high[0], 0, width)),
        bottom=int(np.clip(high[1], 0, height)),
    )


def contour_mask(upper_px: Float64Array, lower_px: Float64Array, box: Box) -> ContourMask:
    """Mask of a box for contours (N, 2) and (M, 2), given left to right."""
    columns = np.arange(box.left, box.right, dtype=np.float64)
    rows = np.arange(box.top, box.bottom, dtype=np.float64)[:, None]
    y_upper = _height_at(columns, upper_px)
    y_lower = _height_at(columns, lower_px)
    coverage = np.minimum(y_lower, rows + 0.5) - np.maximum(y_upper, rows - 0.5)
    left, right = upper_px[0, 0], upper_px[-1, 0]
    inside = np.clip(np.minimum(columns - left, right - columns) + 0.5, 0.0, 1.0)
    covered = (np.clip(coverage, 0.0, 1.0) * inside).astype(np.float32)
    return ContourMask(
        coverage=covered,
        below_upper=(rows - y_upper).astype(np.float32),
        above_lower=(y_lower - rows).astype(np.float32),
        across=((columns - 0.5 * (left + right)) / max(0.5 * (right - left), 1e-6)).astype(np.float32),
    )


def set_gap(
    upper_px: Float64Array, lower_px: Float64Array, down: Float64Array, gap_px: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Move both contours (N, 2) symmetrically until they gape by ``gap_px`` (N,) along unit vector ``down`` (2,)."""
    excess = 0.5 * ((lower_px - upper_px) @ down - gap_px)[:, None] * down
    return upper_px + excess, lower_px - excess


def blend_into(
    frame: npt.NDArray[np.uint8],
    box: Box,
    colour: Float32Array,
    alpha: npt.NDArray[np.floating],
) -> None:
    """Lay a colour (h, w, 3) or (3,) over the pixels of a box by ``alpha`` (h, w, 1), 0..1; in place."""
    part = frame[box.slices]
    part[...] = np.clip(part + (colour - part) * alpha + 0.5, 0.0, 255.0).astype(np.uint8)


def smooth_step(x: npt.NDArray[np.floating] | float) -> npt.NDArray[np.floating]:
    """Hermite step: 0 up to 0, 1 from 1 on, smooth between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def to_levels(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Colours 0..255 as bytes."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _height_at(columns: Float64Array, contour_px: Float64Array) -> Float64Array:
    # A contour that doubles back (extreme roll) is read as a vertical step.
    x = np.maximum.accumulate(contour_px[:, 0]) + 1e-6 * np.arange(len(contour_px))
    return np.asarray(np.interp(columns, x, contour_px[:, 1]))
