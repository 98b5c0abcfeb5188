"""The white and the iris of a portrait's eye, each continued where the other or a lid hides it."""

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


def whole_iris(
    image: Float32Array,
    visible: npt.NDArray[np.bool_],
    distance: Float32Array,
    radius: float,
    white: Float32Array,
    sealed: bool,
    unit: float,
) -> Float32Array:
    """Iris disc with a soft edge, (h, w, 4) premultiplied RGBA 0..255; what the lids hide continues the visible rings.

    Args:
        image: (h, w, 3) of the portrait.
        visible: (h, w) pixels clear of the lids.
        distance: (h, w) from the middle of the iris, px; radius: of the iris, px.
        white: (h, w, 3) of `white_of_eye`.
        sealed: the eye is shut, and a brown iris in the portrait's light is invented.
        unit: as for `white_of_eye`.
    """
    rings = np.arange(0.0, 1.35 * radius, 0.75 * unit)
    profile = np.zeros((len(rings), 3), np.float32)
    for k, r in enumerate(rings):
        at = visible & (np.abs(distance - r) < unit)
        if at.sum() >= 3:
            profile[k] = np.median(image[at], axis=0)
        elif k > 0:
            profile[k] = profile[k - 1]
        else:
            near = distance < 0.6 * radius
            profile[k] = np.quantile(image[near], 0.3, axis=0) if near.any() else white.mean(axis=(0, 1)) * 0.3
    if sealed:
        # Pupil to a third of the radius, iris, and the dark ring at its edge.
        shade = np.interp(rings / radius, [0.0, 0.35, 0.5, 0.85, 1.0], [0.10, 0.12, 0.36, 0.36, 0.22])
        level = float(np.quantile(image, 0.8))
        profile = (level * shade[:, None] * np.array(_BROWN)).astype(np.float32)
    hidden = np.stack([np.interp(distance, rings, profile[:, c]) for c in range(3)], axis=-1)
    trust = cv2.GaussianBlur(visible.astype(np.float32), (0, 0), 0.7 * unit)
    trust = np.clip(2.0 * trust - 1.0, 0.0, 1.0)[..., None]
    disc = image * trust + hidden.astype(np.float32) * (1.0 - trust)
    alpha = 1.0 - smooth_step((distance - 0.98 * radius) / max(0.22 * radius, unit))
    alpha = alpha.astype(np.float32)[..., None]
    return np.concatenate([disc * alpha, 255.0 * alpha], axis=2).astype(np.float32)
