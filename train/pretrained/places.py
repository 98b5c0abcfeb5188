r"""Cutting faces out of images, differentiably.

A place is a rotated square: (B, 4) = centre x, centre y, side in px, roll in radians (positive: the face leans
clockwise). Coordinates count from the corner of the image, so the middle of the first pixel is at 0.5.

    image                cut
    +-----------+        +-------+
    |   /\      |        |  o o  |
    |  /o \     | -----> |   v   |
    |  \ o/     |        |   -   |
    |   \/      |        +-------+
    +-----------+

Shape suffixes: B rows, C channels, H and W pixels, N landmarks.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.motion.space.landmark_table import IBUG_68, IRIS_CENTRES, LID_LEFT, LID_RIGHT, OUTER_CORNERS, OUTER_LIPS

_MOUTH_CORNERS: Final = (61, 291)
_NOSE_TIP: Final = 4
_RECOGNITION_PX: Final = 112
_RECOGNITION_POINTS: Final = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041),
)  # fmt: skip
"""Eyes, nose tip and mouth corners (image left first) in the 112 px images that ArcFace models are trained on."""
_EXPRESSION_SCALE: Final = 1.1 * 1.25
_EYE_LIP_MARGIN: Final = 0.1
"""What a box of `lip_eye_mask` is widened by on each side, in its longer sides; the paper gives none."""


def face_places(landmarks_px_BN3: Tensor, scale: float = 1.5, *, upright: bool = False) -> Tensor:
    """Squares around faces, (B, 478, 2 or 3) landmarks px to (B, 4).

    Args:
        scale: side over the larger extent of the landmarks. MediaPipe's landmark network sees 1.5 (the default).
        upright: no roll, as detectors' boxes; otherwise the outer eye corners lie level in the cut.
    """
    points_BN2 = landmarks_px_BN3[..., :2]
    eyes_B2 = points_BN2[:, OUTER_CORNERS[1]] - points_BN2[:, OUTER_CORNERS[0]]
    roll_B = torch.atan2(eyes_B2[:, 1], eyes_B2[:, 0])
    roll_B = torch.zeros_like(roll_B) if upright else roll_B
    turned_BN2 = points_BN2 @ _rotation(-roll_B).mT
    low_B2, high_B2 = turned_BN2.amin(1), turned_BN2.amax(1)
    centre_B2 = (_rotation(roll_B) @ ((low_B2 + high_B2) / 2)[..., None])[..., 0]
    side_B = (high_B2 - low_B2).amax(1) * scale
    return torch.cat([centre_B2, side_B[:, None], roll_B[:, None]], 1)


def expression_places(landmarks_px_BN3: Tensor) -> Tensor:
    """Upright squares for the expression network, as `face_places`; cut them at 224 px.

    DECA's rule: the middle of the box of the 68 landmarks, 1.375 times the mean of its width and height.
    """
    box_BN2 = landmarks_px_BN3[:, IBUG_68.tolist(), :2]
    low_B2, high_B2 = box_BN2.amin(1), box_BN2.amax(1)
    side_B1 = (high_B2 - low_B2).mean(1, keepdim=True) * _EXPRESSION_SCALE
    return torch.cat([(low_B2 + high_B2) / 2, side_B1, torch.zeros_like(side_B1)], 1)


def recognition_places(landmarks_px_BN3: Tensor) -> Tensor:
    """Squares for the ArcFace network, as `face_places`; cut them at 112 px.

    The similarity that brings five points of the face closest to ArcFace's template (least squares), which a rotated
    square is.
    """
    indices = [*IRIS_CENTRES, _NOSE_TIP, *_MOUTH_CORNERS]
    face_B52 = landmarks_px_BN3[:, indices, :2]
    template_52 = face_B52.new_tensor(_RECOGNITION_POINTS)
    middle_B12, template_12 = face_B52.mean(1, keepdim=True), template_52.mean(0)
    a, b = template_52 - template_12, face_B52 - middle_B12
    # Complex numbers of points: face = factor * template, |factor| the px per template px, its angle the roll.
    power = a.square().sum()
    real_B = (b * a).sum((1, 2)) / power
    imaginary_B = (b[..., 1] * a[:, 0] - b[..., 0] * a[:, 1]).sum(1) / power
    scale_B, roll_B = torch.hypot(real_B, imaginary_B), torch.atan2(imaginary_B, real_B)
    offset_2 = _RECOGNITION_PX / 2 - template_12
    centre_B2 = middle_B12[:, 0] + scale_B[:, None] * (_rotation(roll_B) @ offset_2)
    return torch.cat([centre_B2, scale_B[:, None] * _RECOGNITION_PX, roll_B[:, None]], 1)


def lip_eye_mask(landmarks_px_BN3: Tensor, size_px: int) -> Tensor:
    """M_lip&eye of Eq. 11 before its weight: boxes around both eyes and the lips, (B, 1, size, size) of 0 and 1.

    Args:
        landmarks_px_BN3: (B, 478, 2 or 3) in an image of ``size_px``.
    """
    points = landmarks_px_BN3[..., :2].detach()
    middles = torch.arange(size_px, device=points.device, dtype=points.dtype) + 0.5
    mask = torch.zeros(len(points), size_px, size_px, device=points.device, dtype=torch.bool)
    for ring in (LID_LEFT, LID_RIGHT, OUTER_LIPS):
        low, high = points[:, list(ring)].amin(1), points[:, list(ring)].amax(1)
        wider = (high - low).amax(1, keepdim=True) * _EYE_LIP_MARGIN
        inside = (middles >= (low - wider)[..., None]) & (middles <= (high + wider)[..., None])
        mask |= inside[:, 1, :, None] & inside[:, 0, None, :]
    return mask[:, None].to(points.dtype)


def cut_places(image_BCHW: Tensor, place_px_B4: Tensor, size_px: int) -> Tensor:
    """Squares of ``size_px`` from images (B, C, H, W), one place for each; bilinear, the border repeats outside.

    Gradients pass to the image (and to the place, which callers usually detach).
    """
    height, width = image_BCHW.shape[-2:]
    axis = torch.arange(size_px, device=image_BCHW.device, dtype=place_px_B4.dtype) + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid_BN2 = from_places(torch.stack([x, y], -1).reshape(1, -1, 2), place_px_B4, size_px)
    grid_BHW2 = grid_BN2.reshape(len(place_px_B4), size_px, size_px, 2)
    scaled = grid_BHW2 / grid_BHW2.new_tensor([width, height]) * 2 - 1
    return F.grid_sample(image_BCHW, scaled.to(image_BCHW.dtype), padding_mode="border", align_corners=False)


def from_places(points_BN2: Tensor, place_px_B4: Tensor, size_px: float) -> Tensor:
    """Points (B or 1, N, 2 or 3) in cuts of ``size_px``, to px of the image; a third coordinate is scaled alike."""
    side_B11 = place_px_B4[:, 2, None, None]
    plane = (points_BN2[..., :2] / size_px - 0.5) * side_B11 @ _rotation(place_px_B4[:, 3]).mT
    plane = plane + place_px_B4[:, None, :2]
    if points_BN2.shape[-1] == 2:
        return plane
    return torch.cat([plane, points_BN2[..., 2:] * side_B11 / size_px], -1)


def _rotation(angle_B: Tensor) -> Tensor:
    """(B, 2, 2), turning x towards y."""
    sine, cosine = angle_B.sin(), angle_B.cos()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
