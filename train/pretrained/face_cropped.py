"""Experts that were trained on face cuts, applied to head crops."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from train.pretrained.places import cut_places, face_places
from train.pretrained.tflite.landmark_network import LandmarkNetwork


class FaceCropped(nn.Module):
    """``network`` of the face in an image.

    Args:
        network: takes faces (B, 3, size, size) in [-1, 1].
        landmarks: finds the face where no landmarks are given.
        scale: side of an upright cut over the extent of the landmarks; 1.2 for the gaze expert.
        places: another rule from landmarks to places instead; `expression_places` for the expression expert.
        size_px: of the cut; the network resizes further.
    """

    def __init__(
        self,
        network: nn.Module,
        landmarks: LandmarkNetwork,
        *,
        scale: float = 1.2,
        places: Callable[[Tensor], Tensor] | None = None,
        size_px: int = 224,
    ) -> None:
        super().__init__()
        self.network, self.landmarks = network, landmarks
        self.places = places or (lambda landmarks_px: face_places(landmarks_px, scale, upright=True))
        self.size_px = size_px

    def forward(self, rgb_B3HW: Tensor, landmarks_px_BN3: Tensor | None = None) -> Tensor:
        """Head crops, float32 (B, 3, H, W) in [-1, 1], to the network's output; gradients pass to the pixels only.

        Args:
            landmarks_px_BN3: say where the face is, (B, 478, 2 or 3). Give a target's landmarks with the target and
                with its imitation, and the loss cannot be lowered by moving the cut.
        """
        found = self.landmarks(rgb_B3HW) if landmarks_px_BN3 is None else landmarks_px_BN3
        place = self.places(found.detach())
        return cast(Tensor, self.network(cut_places(rgb_B3HW, place, self.size_px)))
