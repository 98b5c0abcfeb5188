"""The white and the iris of a portrait's eye, each continued where the other or a lid hides it."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import smooth_step

Float32Array = npt.NDArray[np.float32]

# Red, green and blue of an invented iris, brown, relative to the portrait's light.
_BROWN = (1.0, 0.78, 0.62)


def white_of_eye(
    image: Float32Array, known: npt.NDArray[np.bool_], coverage: Float32Array, unit: float
) -> Float32Array:
    """The eye (h, w, 3), RGB 0..255, with everything but its visible white smoothed over from that white.

    Args:
        image: (h, w, 3) of the portrait.
        known: (h, w) pixels that show white.
        coverage: (h, w) share between the lids; its bright pixels are taken where no white is known.
        unit: size of the crop over `DESIGN_SIZE_PX`.
    """
    if int(known.sum()) < 6 * unit**2:
        inside = image[coverage > 0.5]
        colour = np.quantile(inside if len(inside) > 12 else image.reshape(-1, 3), 0.8, axis=0)
        colour = 0.3 * colour + 0.7 * colour.mean()
        return np.broadcast_to(colour.astype(np.float32), image.shape).copy()
    weight = known.astype(np.float32)
    total = image * weight[..., None]
    # Normalised blurs from narrow to wide: each pixel takes the narrowest that reaches known white.
    filled = np.zeros_like(image)
    missing = np.ones_like(weight)
    for sigma in (0.8, 1.6, 3.2, 6.4, 12.8):
        sigma *= unit
        mass = cv2.GaussianBlur(weight, (0, 0), sigma)
        value = cv2.GaussianBlur(total, (0, 0), sigma) / np.maximum(mass, 1e-6)[..., None]
        trust = np.clip(mass / 0.15, 0.0, 1.0) * missing
        filled += value * trust[..., None]
        missing = missing - trust
    mean = total.sum(axis=(0, 1)) / weight.sum()
    return np.asarray(filled + mean * missing[..., None], np.float32)


def suiting_white(skin: Float32Array) -> float:
    """Brightness, 0..255, of an eye's white that suits the lit skin, RGB.

    55 + 0.63 times the skin's was fitted on 413 portraits of all skins. In a dark picture that would glow: 1.5 times
    the skin is what most of the darkest skins showed.
    """
    level = float(skin.mean())
    return min(55.0 + 0.63 * level, 1.5 * level)


def invented_white(borrowed: Float32Array, skin: Float32Array, shape: tuple[int, int], unit: float) -> Float32Array:
    """A white (h, w, 3), RGB 0..255, for an eye that the portrait shows shut: of one colour.

    Args:
        borrowed: (N, 3) the white pixels of the other eye; none where it shows none.
        skin: RGB of the skin around the eye.
        shape: (h, w); unit: as for `white_of_eye`.
    """
    if len(borrowed) >= 6 * unit**2:
        colour = borrowed.mean(axis=0)
    else:
        level = suiting_white(skin)
        colour = level * (0.7 + 0.3 * skin / max(float(skin.mean()), 1.0))
    return np.broadcast_to(np.asarray(colour, np.float32), (*shape, 3)).copy()


@dataclasses.dataclass(frozen=True, slots=True)
class IrisRings:
    """Colours of an iris from its middle outwards.

    Attributes:
        radii: (K,) px. colours: (K, 3) RGB 0..255.
    """

    radii: npt.NDArray[np.float64]
    colours: Float32Array

    def scaled(self, factor: float) -> IrisRings:
        """The same colours on an iris ``factor`` times as large."""
        return IrisRings(self.radii * factor, self.colours)


def iris_rings(
    image: Float32Array,
    visible: npt.NDArray[np.bool_],
    distance: Float32Array,
    radius: float,
    white: Float32Array,
    unit: float,
) -> IrisRings:
    """What the portrait shows of an iris.

    Args:
        image: (h, w, 3) of the portrait.
        visible: (h, w) pixels clear of the lids.
        distance: (h, w) from the middle of the iris, px; radius: of the iris, px.
        white: (h, w, 3) of `white_of_eye`; unit: as there.
    """
    radii = _radii(radius, unit)
    colours = np.zeros((len(radii), 3), np.float32)
    for k, r in enumerate(radii):
        at = visible & (np.abs(distance - r) < unit)
        if at.sum() >= 3:
            colours[k] = np.median(image[at], axis=0)
        elif k > 0:
            colours[k] = colours[k - 1]
        else:
            near = distance < 0.6 * radius
            colours[k] = np.quantile(image[near], 0.3, axis=0) if near.any() else white.mean(axis=(0, 1)) * 0.3
    return IrisRings(radii, colours)


def invented_rings(radius: float, level: float, unit: float) -> IrisRings:
    """A brown iris for eyes that are both shut; ``level``: brightness 0..255 of the portrait around them."""
    radii = _radii(radius, unit)
    # Pupil to a third of the radius, iris, and the dark ring at its edge.
    shade = np.interp(radii / radius, [0.0, 0.35, 0.5, 0.85, 1.0], [0.10, 0.12, 0.36, 0.36, 0.22])
    return IrisRings(radii, (level * shade[:, None] * np.array(_BROWN)).astype(np.float32))


def whole_iris(
    image: Float32Array,
    visible: npt.NDArray[np.bool_],
    distance: Float32Array,
    radius: float,
    rings: IrisRings,
    unit: float,
) -> Float32Array:
    """Iris disc with a soft edge, (h, w, 4) premultiplied RGBA 0..255; what the lids hide continues the rings.

    Args: as for `iris_rings`; nothing of a shut eye counts as visible.
    """
    hidden = np.stack([np.interp(distance, rings.radii, rings.colours[:, c]) for c in range(3)], axis=-1)
    trust = cv2.GaussianBlur(visible.astype(np.float32), (0, 0), 0.7 * unit)
    trust = np.clip(2.0 * trust - 1.0, 0.0, 1.0)[..., None]
    disc = image * trust + hidden.astype(np.float32) * (1.0 - trust)
    alpha = 1.0 - smooth_step((distance - 0.98 * radius) / max(0.22 * radius, unit))
    alpha = alpha.astype(np.float32)[..., None]
    return np.concatenate([disc * alpha, 255.0 * alpha], axis=2).astype(np.float32)


def _radii(radius: float, unit: float) -> npt.NDArray[np.float64]:
    return np.arange(0.0, 1.35 * radius, 0.75 * unit)
