"""Changes of a head crop whose motion descriptor follows exactly: mirror, scale, roll, shift; and changes of colour.

    place in the crop, in halves of it from the middle       x' = a R(roll) m(x) + b        m mirrors x or not
    pose                                                     R' = Rz(roll) m(R)   log scale + log a   t' as a place
    gaze                                                     the direction turns with the image

Source and target of a row get the same change, so what stands still stays still. The gap that a shift opens is
filled by reflection. Shape suffixes: B rows, T frames, D descriptor (72), N landmarks, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.motion.space.coefficients import EXPRESSION, GAZE, POSE
from engine.motion.space.gaze import direction_to_gaze, gaze_to_direction
from engine.motion.space.landmark_table import MIRROR
from engine.motion.space.pose import matrix_to_rotation_vector, rotation_vector_to_matrix
from train.data.faces.mirror import mirror_gaze, mirror_pose

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceAugmentation:
    """How far crops are changed; every number is the half-width of a uniform distribution around no change.

    Attributes:
        mirror: share of rows that are mirrored.
        shift: halves of the crop; scale: natural logarithm; roll_rad: radians in the image plane.
        brightness: of the range of pixel values; contrast, saturation, tint: relative (tint: of each colour channel).
    """

    mirror: float = 0.5
    shift: float = 0.06
    scale: float = 0.08
    roll_rad: float = 0.08
    brightness: float = 0.1
    contrast: float = 0.2
    saturation: float = 0.3
    tint: float = 0.08

    @property
    def moves(self) -> bool:
        """Whether places change, and with them the motion descriptor."""
        return max(self.mirror, self.shift, self.scale, self.roll_rad) > 0

    @classmethod
    def none(cls) -> FaceAugmentation:
        """No change at all: what the paper describes, and the only choice outside the landmark motion space."""
        return cls(
            mirror=0, shift=0, scale=0, roll_rad=0, brightness=0, contrast=0, saturation=0, tint=0
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaceChange:
    """Mirror, then a similarity in the image plane; one a row.

    mirror_B bool; scale_B positive; roll_B radians, clockwise as seen; shift_B2 x, y in halves of the crop.
    """

    mirror_B: Tensor
    scale_B: Tensor
    roll_B: Tensor
    shift_B2: Tensor

    @classmethod
    def draw(cls, generator: torch.Generator, rows: int, config: FaceAugmentation) -> FaceChange:
        """Draw a change for each of ``rows`` rows."""
        uniform_B4 = 2 * torch.rand(rows, 4, generator=generator) - 1
        return cls(
            torch.rand(rows, generator=generator) < config.mirror,
            torch.exp(config.scale * uniform_B4[:, 0]),
            config.roll_rad * uniform_B4[:, 1],
            config.shift * uniform_B4[:, 2:],
        )

    def rows(self, own: slice) -> FaceChange:
        """The changes of some rows."""
        return FaceChange(self.mirror_B[own], self.scale_B[own], self.roll_B[own], self.shift_B2[own])

    @property
    def _similarity_B22(self) -> Tensor:
        """a R(roll)."""
        cosine, sine = torch.cos(self.roll_B), torch.sin(self.roll_B)
        rows = [torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)]
        return self.scale_B[:, None, None] * torch.stack(rows, 1)

    @property
    def _linear_B22(self) -> Tensor:
        """a R(roll) m."""
        sign_B = 1.0 - 2.0 * self.mirror_B.to(self.scale_B.dtype)
        return self._similarity_B22 * torch.stack([sign_B, torch.ones_like(sign_B)], -1)[:, None]

    def images(self, rgb_B3HW: Tensor) -> Tensor:
        """Changed images (B, 3, H, W) float, sampled bilinearly, on the device of ``rgb_B3HW``."""
        inverse_B22 = torch.linalg.inv(self._linear_B22)
        offset_B21 = -inverse_B22 @ self.shift_B2[:, :, None]
        affine_B23 = torch.cat([inverse_B22, offset_B21], 2).to(rgb_B3HW)
        grid = F.affine_grid(affine_B23, list(rgb_B3HW.shape), align_corners=False)
        return F.grid_sample(rgb_B3HW, grid, padding_mode="reflection", align_corners=False)

    def landmarks(self, landmarks_BN3: Tensor, crop_size: float = 256) -> Tensor:
        """Landmarks (B, 478, 3) px of the changed images, left and right swapped where mirrored."""
        swapped_BN3 = torch.where(
            self.mirror_B[:, None, None], landmarks_BN3[:, torch.from_numpy(MIRROR)], landmarks_BN3
        )
        half = crop_size / 2
        place_BN2 = (swapped_BN3[..., :2] - half) / half
        place_BN2 = place_BN2 @ self._linear_B22.mT + self.shift_B2[:, None]
        depth_BN1 = swapped_BN3[..., 2:] * self.scale_B[:, None, None]
        return torch.cat([place_BN2 * half + half, depth_BN1], -1)

    def descriptors(self, window_BTD: Tensor, mirror_sign_E: Tensor) -> Tensor:
        """Motion descriptors (B, T, 72) of the changed images, in the landmark motion space.

        Args:
            mirror_sign_E: (64,), what mirroring does to each expression coefficient
                (`LandmarkModel.expression_mirror_sign`).
        """
        mirrored_BTD = torch.cat(
            [
                window_BTD[..., EXPRESSION] * mirror_sign_E,
                mirror_pose(window_BTD[..., POSE]),
                mirror_gaze(window_BTD[..., GAZE]),
            ],
            -1,
        )
        window_BTD = torch.where(self.mirror_B[:, None, None], mirrored_BTD, window_BTD)
        pose_BT6 = window_BTD[..., POSE].double()
        zero_B = torch.zeros_like(self.roll_B, dtype=torch.float64)
        turn_B133 = rotation_vector_to_matrix(torch.stack([zero_B, zero_B, self.roll_B.double()], -1))[:, None]
        rotation_BT33 = turn_B133 @ rotation_vector_to_matrix(pose_BT6[..., :3])
        vector_BT3 = torch.from_numpy(matrix_to_rotation_vector(rotation_BT33.numpy()))
        place_BT2 = pose_BT6[..., 3:5] @ self._similarity_B22.double().mT + self.shift_B2.double()[:, None]
        depth_BT1 = pose_BT6[..., 5:] + self.scale_B.double().log()[:, None, None]
        direction_BT3 = gaze_to_direction(window_BTD[..., GAZE].double()) @ turn_B133[:, 0].mT
        changed = [window_BTD[..., EXPRESSION].double(), vector_BT3, place_BT2, depth_BT1]
        return torch.cat([*changed, direction_to_gaze(direction_BT3)], -1).to(window_BTD.dtype)


@dataclass(frozen=True, slots=True)
class ColourChange:
    """Brightness, contrast, saturation and tint; one a row.

    brightness_B is added, contrast_B scales about middle grey, saturation_B scales about luma, tint_B3 scales channels.
    """

    brightness_B: Tensor
    contrast_B: Tensor
    saturation_B: Tensor
    tint_B3: Tensor

    @classmethod
    def draw(cls, generator: torch.Generator, rows: int, config: FaceAugmentation) -> ColourChange:
        """Draw a change for each of ``rows`` rows."""
        uniform_B6 = 2 * torch.rand(rows, 6, generator=generator) - 1
        return cls(
            2 * config.brightness * uniform_B6[:, 0],
            1 + config.contrast * uniform_B6[:, 1],
            1 + config.saturation * uniform_B6[:, 2],
            1 + config.tint * uniform_B6[:, 3:],
        )

    def rows(self, own: slice) -> ColourChange:
        """The changes of some rows."""
        return ColourChange(self.brightness_B[own], self.contrast_B[own], self.saturation_B[own], self.tint_B3[own])

    def images(self, rgb_B3HW: Tensor) -> Tensor:
        """Changed images (B, 3, H, W) in [-1, 1]."""
        device = rgb_B3HW.device
        luma_3 = torch.tensor(_LUMA, device=device)
        grey_B1HW = (rgb_B3HW * luma_3[:, None, None]).sum(1, keepdim=True)
        coloured = grey_B1HW + self.saturation_B.to(device)[:, None, None, None] * (rgb_B3HW - grey_B1HW)
        # Tint as if of light: black stays black.
        tinted = (coloured + 1) * self.tint_B3.to(device)[:, :, None, None] - 1
        changed = tinted * self.contrast_B.to(device)[:, None, None, None]
        return (changed + self.brightness_B.to(device)[:, None, None, None]).clamp(-1, 1)
