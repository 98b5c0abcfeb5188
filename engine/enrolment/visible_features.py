"""Whether a portrait shows what will be moved: open eyes, and a mouth.

A mask or a hand leaves no line between the lips, dark glasses no white and no iris. Each measure is a difference of
brightness within the feature as a share of the skin's, so that it holds in any light and on any skin, with a beard too.
Bounds were set on 1 243 portraits and on pictures made of 16 of them with masks, hands and glasses.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.motion.space.landmark_table import EYE_CORNERS, INNER_LIPS, LID_LEFT, LID_RIGHT
from engine.portrait import FaceCrop

# Lids apart by less, as a share of the eye's width, are shut: portraits have 0.068 and more, shut eyes up to 0.052.
_SHUT_GAP = 0.06
# Contrast within an eye, and its brightest part: portraits have 0.18 and 0.31 or more, dark glasses 0.02 and 0.12.
_LEAST_EYE_CONTRAST = 0.10
_LEAST_EYE_BRIGHTNESS = 0.25
# Contrast across the lips: portraits have 0.14 and more, plain masks and hands up to 0.11.
_LEAST_LIP_CONTRAST = 0.12

_SKIN_POINTS = (50, 280, 205, 425, 117, 346, 151, 9, 101, 330)
_MOUTH_CORNERS = (61, 291)
_UPPER_LIP, _LOWER_LIP = (0, 37, 267), (17, 84, 314)
# Under the middle of each eye: points of the upper lid, and those of the lower lid below them.
_LID_POINTS = (((160, 159, 158), (144, 145, 153)), ((385, 386, 387), (380, 374, 373)))

_F32 = NDArray[np.float32]


def hidden_features(crop: FaceCrop) -> tuple[str, ...]:
    """Sentences for the user on eyes and a mouth that the crop does not show; none where all is well."""
    light = cv2.cvtColor(crop.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # From the corner of the image to the middle of its first pixel.
    points = crop.landmarks_px[:, :2] - np.float32(0.5)
    skin = max(float(np.median(_sampled(light, points[list(_SKIN_POINTS)]))), 8.0)
    across = points[_MOUTH_CORNERS[1]] - points[_MOUTH_CORNERS[0]]
    width = max(float(np.linalg.norm(across)), 1.0)
    down = np.array([-across[1], across[0]], np.float32) / width
    found = []
    shut = sum(_gap(points, side, down) < _SHUT_GAP for side in (0, 1))
    covered = sum(_is_covered(light, points, ring, skin) for ring in (LID_LEFT, LID_RIGHT))
    if shut:
        which = "the eyes are" if shut == 2 else "one eye is"
        found.append(f"{which} shut, and how they look when open is guessed; use a picture with open eyes")
    elif covered:
        which = "the eyes are" if covered == 2 else "one eye is"
        found.append(
            f"{which} covered (dark glasses, hair?) and will not be seen moving; use a picture that shows both"
        )
    if _lip_contrast(light, points, width, down) < _LEAST_LIP_CONTRAST * skin:
        found.append(
            "the mouth cannot be seen (a mask, a hand, no sharpness?), and one will open where it should be; "
            "use a picture that shows the whole face"
        )
    return tuple(found)


def _gap(points: _F32, side: int, down: _F32) -> float:
    """Mean height of an eye's opening as a share of the eye's width."""
    upper, lower = (points[list(lid)] for lid in _LID_POINTS[side])
    outer, inner = points[list(EYE_CORNERS[side])]
    return float(((lower - upper) @ down).mean()) / max(float(np.linalg.norm(outer - inner)), 1e-6)


def _is_covered(light: _F32, points: _F32, ring: tuple[int, ...], skin: float) -> bool:
    mask = np.zeros(light.shape, np.uint8)
    cv2.fillPoly(mask, [points[list(ring)].round().astype(np.int32)], 255)
    inside = light[cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0]
    if not inside.size:
        return True
    dark, bright = np.percentile(inside, [5, 95])
    return bool(bright - dark < _LEAST_EYE_CONTRAST * skin or bright < _LEAST_EYE_BRIGHTNESS * skin)


def _lip_contrast(light: _F32, points: _F32, width: float, down: _F32) -> float:
    """Difference of brightness across the lips, averaged along them, so that texture does not count."""
    half = len(INNER_LIPS) // 2
    upper = points[list(INNER_LIPS[: half + 1])]
    lower = points[[INNER_LIPS[0], *INNER_LIPS[: half - 1 : -1]]]
    line = (upper + lower) / 2
    places = np.linspace(0.15, 0.85, 25)
    along = np.linspace(0, 1, len(line))
    middle = np.stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)], axis=1)
    centre = middle.mean(0)
    top = float((points[list(_UPPER_LIP)].mean(0) - centre) @ down)
    bottom = float((points[list(_LOWER_LIP)].mean(0) - centre) @ down)
    # At least a twentieth of the mouth's width to either side, for lips that are drawn in.
    steps = np.linspace(min(top, -0.05 * width), max(bottom, 0.05 * width), 32)
    grid = middle[None] + steps[:, None, None] * down
    profile = _sampled(light, grid).mean(axis=1)
    return float(profile.max() - profile.min())


def _sampled(light: _F32, places: NDArray[np.floating]) -> _F32:
    """Brightness at places (..., 2) = x, y, of the shape (n, m) or (n,)."""
    grid = np.asarray(places, np.float32)
    flat = grid if grid.ndim == 3 else grid[None]
    found = cv2.remap(light, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found if grid.ndim == 3 else found[0], np.float32)
