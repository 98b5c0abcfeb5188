"""Cuts a portrait into the layers of a rig, once."""

import cv2
import numpy as np
import numpy.typing as npt
import torch

from engine.animator.mesh.contours import blend_into, box_around, contour_mask
from engine.animator.mesh.eyes import build_eyes
from engine.animator.mesh.mouth import build_mouth
from engine.animator.mesh.rig import DESIGN_SIZE_PX, Float32Array, Rig, UInt8Array
from engine.animator.mesh.surface import build_surface
from engine.animator.mesh.topology import EYES, MOUTH_LOWER, MOUTH_UPPER
from engine.motion.space.coefficients import EXPRESSION, POSE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.pose import project, similarity_from_pose
from engine.portrait import FaceCrop

Float64Array = npt.NDArray[np.float64]


def build_rig(crop: FaceCrop, coefficients: Coefficients, model: LandmarkModel) -> Rig:
    """Rig of a square crop (S, S, 3).

    Args:
        coefficients: the crop in the motion space, from ``LandmarkModel.fit`` on its landmarks.
        model: of that motion space.
    """
    rgb, size = np.ascontiguousarray(crop.rgb), crop.rgb.shape[0]
    rest = torch.from_numpy(coefficients.descriptor)
    identity = torch.from_numpy(coefficients.identity)
    neutral = model.shape(identity, torch.zeros_like(rest[EXPRESSION]), torch.from_numpy(coefficients.residual))
    shape = model.shape(identity, rest[EXPRESSION], torch.from_numpy(coefficients.residual))
    scale, rotation, _ = (part.numpy() for part in similarity_from_pose(rest[POSE], size))
    # The motion space counts from the corner of the image, a rig from the middle of its first pixel.
    landmarks = project(shape, rest[POSE], size).numpy().astype(np.float64) - np.array([0.5, 0.5, 0.0])
    down = rotation[:2, 1] / max(float(np.linalg.norm(rotation[:2, 1])), 1e-6)
    surface = build_surface(landmarks, size)
    lit_skin = _lit_skin(rgb, landmarks)
    mouth = build_mouth(rgb, landmarks, surface.source_px, rotation, down, _white_level(rgb, landmarks, lit_skin))
    eyes = build_eyes(rgb, landmarks, down, lit_skin)
    skin = rgb.copy()
    for upper, lower in (*((eye.upper, eye.lower) for eye in EYES), (MOUTH_UPPER, MOUTH_LOWER)):
        _grow_over(skin, surface.source_px[upper], surface.source_px[lower])
    return Rig(
        skin=skin,
        source_px=surface.source_px.astype(np.float32),
        triangles=surface.triangles.astype(np.int32),
        ray_follow_skull=surface.ray_follow_skull.astype(np.float32),
        ray_follow_outline=surface.ray_follow_outline.astype(np.float32),
        ray_depth_px=surface.ray_depth_px.astype(np.float32),
        skull_centre_px=surface.skull_centre_px.astype(np.float32),
        neutral_shape=neutral.numpy().astype(np.float32),
        expression_basis=model.expression_basis.numpy(),
        rest_descriptor=coefficients.descriptor,
        eyeball_radius_px=model.eyeball_radius * float(scale),
        eyes=eyes,
        mouth=mouth,
    )


def _grow_over(image: UInt8Array, upper: Float64Array, lower: Float64Array) -> None:
    """Fill an opening, but for its outermost pixel, with what lies on its contours; in place."""
    unit = image.shape[0] / DESIGN_SIZE_PX
    box = box_around(np.concatenate([upper, lower]), 2.0 * unit, *image.shape[:2])
    if box.empty:
        return
    seen = contour_mask(upper, lower, box)
    part = image[box.slices]
    rows = np.arange(part.shape[0], dtype=np.float32)[:, None]
    columns = np.ascontiguousarray(np.broadcast_to(np.arange(part.shape[1], dtype=np.float32), seen.coverage.shape))
    from_upper = cv2.remap(part, columns, rows - seen.below_upper, cv2.INTER_LINEAR)
    from_lower = cv2.remap(part, columns, rows + seen.above_lower + 0.8 * unit, cv2.INTER_LINEAR)
    share = seen.below_upper / np.maximum(seen.below_upper + seen.above_lower, 1e-3)
    share = np.clip(share, 0.0, 1.0)[..., None]
    filled = from_upper * (1.0 - share) + from_lower * share
    inside = np.clip(np.minimum(seen.below_upper, seen.above_lower) / unit - 0.3, 0.0, 1.0)[..., None]
    inside = inside * (np.abs(seen.across) < 1.0)[None, :, None]
    blend_into(image, box, filled, inside)


def _lit_skin(rgb: UInt8Array, landmarks_px: Float64Array) -> Float32Array:
    """Colour of the skin where the light falls on it, RGB 0..255."""
    face = box_around(landmarks_px[[50, 280, 4, 152], :2], 0.0, *rgb.shape[:2])
    skin = np.quantile(rgb[face.slices].reshape(-1, 3), 0.85, axis=0) if not face.empty else np.full(3, 200.0)
    return np.asarray(skin, np.float32)


def _white_level(rgb: UInt8Array, landmarks_px: Float64Array, skin: Float32Array) -> Float32Array:
    """Brightness of a white thing in the portrait's light, RGB 0..255, from the whites of the eyes and the skin."""
    whites = []
    for eye in EYES:
        upper, lower = landmarks_px[eye.upper, :2], landmarks_px[eye.lower, :2]
        box = box_around(np.concatenate([upper, lower]), 0.0, *rgb.shape[:2])
        inside = rgb[box.slices][contour_mask(upper, lower, box).coverage > 0.9].astype(np.float32)
        if len(inside) > 8:
            whites.append(np.quantile(inside, 0.88, axis=0))
    white = np.mean(whites, axis=0) if whites else skin
    # Teeth are no darker than the skin and at most half as bright again: eyes in shadow, or with a flash in them,
    # mislead. Of the light's tint little more than half is taken, or teeth in warm light would look stained.
    level = float(np.clip(max(white.mean(), 0.95 * skin.mean()), 0.0, 1.5 * skin.mean()))
    tint = white / max(float(white.mean()), 1.0)
    return np.asarray(np.clip(1.05 * level * (0.4 + 0.6 * tint), 30.0, 245.0), np.float32)
