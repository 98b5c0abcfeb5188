"""Networks that were trained on close cuts of faces, applied to head crops."""

from collections.abc import Callable
from typing import Final, cast

from torch import Tensor, nn

from train.pretrained.places import cut_places

_SIZE_PX: Final = 224
"""Of the cut; the networks resize further."""


class FaceCropped(nn.Module):
    """``network`` of the face in an image.

    Args:
        network: takes faces (B, 3, size, size) in [-1, 1].
        places: from landmarks (B, 478, 2 or 3) px to the squares that are cut, as `face_places`.
    """

    def __init__(self, network: nn.Module, places: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.places = network, places

    def forward(self, rgb_B3HW: Tensor, landmarks_px_BN3: Tensor) -> Tensor:
        """Head crops, float32 (B, 3, H, W) in [-1, 1], to the network's output; gradients pass to the pixels only.

        Args:
            landmarks_px_BN3: where the face is, (B, 478, 2 or 3). Give a target's landmarks with the target and with
                its imitation, and the loss cannot be lowered by moving the cut.
        """
        place = self.places(landmarks_px_BN3.detach())
        return cast(Tensor, self.network(cut_places(rgb_B3HW, place, _SIZE_PX)))
