"""From moved landmarks to an image: the warped portrait, with eyeballs under the lids and a mouth behind the lips."""

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt
import torch

from engine.animator.mesh.contours import blend_into, box_around, contour_mask
from engine.animator.mesh.eyes import EyeLayer, build_eye
from engine.animator.mesh.face_mesh import PortraitMesh, build_mesh
from engine.animator.mesh.head_motion import HeadMotion
from engine.animator.mesh.mouth import MouthLayer, build_mouth
from engine.animator.mesh.topology import EYES, MOUTH_LOWER, MOUTH_UPPER
from kernels.backward_warp import backward_warp

Float64Array = npt.NDArray[np.float64]
ImageArray = npt.NDArray[np.uint8]

# Neighbouring pixels that come from places further apart than this lie on two sides of a fold; a face that stretches by
# less is skin, which must stay sharp.
_FOLD_PX = 3.5


@dataclasses.dataclass(frozen=True, slots=True)
class LayeredPortrait:
    """A portrait cut into layers.

    Attributes:
        skin: (H, W, 3) uint8 crop with eye and mouth openings grown over.
        landmarks_px: (478, 3) of the crop.
        mesh, mouth, eyes: the layers.
    """

    skin: ImageArray
    landmarks_px: Float64Array
    mesh: PortraitMesh
    mouth: MouthLayer
    eyes: tuple[EyeLayer, EyeLayer]


def build_layers(
    rgb: ImageArray,
    landmarks_px: npt.NDArray[np.floating],
    rotation: Float64Array,
    eyeball_radius_px: float,
    eye_in_head: tuple[float, float],
) -> LayeredPortrait:
    """Cut a crop (H, W, 3) with landmarks (478, 3) px into layers.

    Args:
        rotation: (3, 3) of the portrait's head pose, canonical face to camera.
        eyeball_radius_px: at the portrait's size.
        eye_in_head: the portrait's pitch and yaw of the eyes within the head, radians.
    """
    landmarks = np.asarray(landmarks_px, dtype=np.float64)
    height, width = rgb.shape[:2]
    mesh = build_mesh(landmarks, height, width)
    mouth = build_mouth(rgb, landmarks, mesh.source_px, rotation, _white_level(rgb, landmarks))
    left, right = (build_eye(rgb, landmarks, eye, rotation, eyeball_radius_px, eye_in_head) for eye in EYES)
    skin = rgb.copy()
    for upper, lower in ((eye.upper, eye.lower) for eye in EYES):
        _grow_over(skin, mesh.source_px[upper], mesh.source_px[lower])
    _grow_over(skin, mesh.source_px[MOUTH_UPPER], mesh.source_px[MOUTH_LOWER])
    return LayeredPortrait(skin=skin, landmarks_px=landmarks, mesh=mesh, mouth=mouth, eyes=(left, right))


def draw(
    portrait: LayeredPortrait,
    landmarks_px: npt.NDArray[np.floating],
    head: HeadMotion,
    eye_in_head: tuple[float, float],
) -> ImageArray:
    """Image (H, W, 3) uint8 of the portrait with its landmarks moved to (478, 3) px."""
    points, places = _moved_skin(portrait, landmarks_px, head, eye_in_head)
    return _drawn(portrait, points, places, landmarks_px, head, eye_in_head)


def draw_with_map(
    portrait: LayeredPortrait,
    landmarks_px: npt.NDArray[np.floating],
    head: HeadMotion,
    eye_in_head: tuple[float, float],
) -> tuple[ImageArray, npt.NDArray[np.float32]]:
    """`draw`'s image, and the place in the portrait of each of its pixels, (H, W, 2) x, y px; irises where they look.

    Pixel centres are at integers. What the portrait does not show (the inside of the mouth, the white behind an iris)
    points to what lies near it.
    """
    points, places = _moved_skin(portrait, landmarks_px, head, eye_in_head)
    frame = _drawn(portrait, points, places, landmarks_px, head, eye_in_head)
    for eye in portrait.eyes:
        eye.turn(places, points, head, eye_in_head)
    return frame, places


def _drawn(
    portrait: LayeredPortrait,
    points: Float64Array,
    places: npt.NDArray[np.float32],
    landmarks_px: npt.NDArray[np.floating],
    head: HeadMotion,
    eye_in_head: tuple[float, float],
) -> ImageArray:
    """Skin by its map, then eyes and mouth."""
    grid = torch.from_numpy(places)[None]
    image = torch.from_numpy(portrait.skin).permute(2, 0, 1)[None]
    warped = backward_warp(image, grid, impl="opencv", mode="bicubic")
    frame = np.ascontiguousarray(warped[0].permute(1, 2, 0).numpy())
    _soften_folds(frame, grid[0].numpy())
    for eye in portrait.eyes:
        eye.draw(frame, points, head, eye_in_head)
    portrait.mouth.draw(frame, points, np.asarray(landmarks_px, dtype=np.float64), head)
    return frame


def _moved_skin(
    portrait: LayeredPortrait,
    landmarks_px: npt.NDArray[np.floating],
    head: HeadMotion,
    eye_in_head: tuple[float, float],
) -> tuple[Float64Array, npt.NDArray[np.float32]]:
    """Moved vertices (V, 2) px, and the map of the mesh (H, W, 2) px."""
    points, depth = portrait.mesh.deform(landmarks_px, head)
    portrait.mouth.close_lips(points, head)
    for eye in portrait.eyes:
        eye.close_lids(points, head, eye_in_head)
    portrait.mesh.settle_lids(points, head)
    return points, portrait.mesh.source_map(points, depth)


def _soften_folds(frame: ImageArray, source_map: npt.NDArray[np.float32]) -> None:
    """Anti-alias where one part of the mesh passes in front of another: blur across the jumps of the map, in place."""
    places = source_map.view(np.complex64)[..., 0]
    jump = np.zeros(frame.shape[:2], dtype=np.uint8)
    for before, after in (
        ((slice(None), slice(0, -1)), (slice(None), slice(1, None))),
        ((slice(0, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        step = places[after] - places[before]
        far = (np.abs(step.real) + np.abs(step.imag)) > _FOLD_PX
        jump[before] |= far
        jump[after] |= far
    if not jump.any():
        return
    at = jump.astype(bool)
    frame[at] = cv2.GaussianBlur(frame, (3, 3), 0.8)[at]


def _grow_over(image: ImageArray, upper: Float64Array, lower: Float64Array) -> None:
    """Fill an opening, but for its outermost pixel, with what lies on its contours; in place."""
    box = box_around(np.concatenate([upper, lower]), 2.0, *image.shape[:2])
    if box.empty:
        return
    seen = contour_mask(upper, lower, box)
    part = image[box.slices]
    rows = np.arange(part.shape[0], dtype=np.float32)[:, None]
    columns = np.ascontiguousarray(np.broadcast_to(np.arange(part.shape[1], dtype=np.float32), seen.coverage.shape))
    from_upper = cv2.remap(part, columns, rows - seen.below_upper, cv2.INTER_LINEAR)
    from_lower = cv2.remap(part, columns, rows + seen.above_lower + 0.8, cv2.INTER_LINEAR)
    share = seen.below_upper / np.maximum(seen.below_upper + seen.above_lower, 1e-3)
    share = np.clip(share, 0.0, 1.0)[..., None]
    filled = from_upper * (1.0 - share) + from_lower * share
    inside = np.clip(np.minimum(seen.below_upper, seen.above_lower) - 0.3, 0.0, 1.0)[..., None]
    inside = inside * (np.abs(seen.across) < 1.0)[None, :, None]
    blend_into(image, box, filled, inside)


def _white_level(rgb: ImageArray, landmarks_px: Float64Array) -> npt.NDArray[np.float32]:
    """Brightness of a white thing in the portrait's light, RGB 0..255, from the whites of the eyes and the skin."""
    whites = []
    for eye in EYES:
        upper, lower = landmarks_px[eye.upper, :2], landmarks_px[eye.lower, :2]
        box = box_around(np.concatenate([upper, lower]), 0.0, *rgb.shape[:2])
        inside = rgb[box.slices][contour_mask(upper, lower, box).coverage > 0.9].astype(np.float32)
        if len(inside) > 8:
            whites.append(np.quantile(inside, 0.88, axis=0))
    face = box_around(landmarks_px[[50, 280, 4, 152], :2], 0.0, *rgb.shape[:2])
    skin = np.quantile(rgb[face.slices].reshape(-1, 3), 0.85, axis=0) if not face.empty else np.full(3, 200.0)
    white = np.mean(whites, axis=0) if whites else skin
    # Teeth are no darker than the skin and at most half as bright again: eyes in shadow, or with a flash in them,
    # mislead. Of the light's tint little more than half is taken, or teeth in warm light would look stained.
    level = float(np.clip(max(white.mean(), 0.95 * skin.mean()), 0.0, 1.5 * skin.mean()))
    tint = white / max(float(white.mean()), 1.0)
    return np.asarray(np.clip(1.05 * level * (0.4 + 0.6 * tint), 30.0, 245.0), np.float32)
