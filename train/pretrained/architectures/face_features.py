"""The expression and gaze networks of Eq. 13 and 14: ResNet-50 encoders of other people's face networks.

Shape suffixes: B rows, H and W pixels, F features.
"""

from typing import cast

from torch import Tensor, nn

from engine.motion.space.bfm_estimators import GazeEstimator
from engine.motion.space.resnet import ResNet
from train.pretrained.pixels import ImageNetPixels, resized

_EXPRESSION_PX, _GAZE_PX = 224, 448


class ExpressionFeatures(nn.Module):
    """Encoder of DECA (Feng et al. 2021), before its regressor of FLAME coefficients.

    It was trained on the cuts of `expression_places`, pixels in [0, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet()

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Faces, float32 (B, 3, H, W) in [-1, 1], to features (B, 2048)."""
        return self.encoder.features(resized(rgb_B3HW, _EXPRESSION_PX) / 2 + 0.5)


class GazeFeatures(nn.Module):
    """L2CS-Net (Abdelrahman et al. 2022): its encoder, and its angles.

    It was trained on face boxes: give it faces cut at about 1.2 times the extent of their landmarks, upright.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pixels = ImageNetPixels(_GAZE_PX)
        self.network = GazeEstimator()

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Faces, float32 (B, 3, H, W) in [-1, 1], to features (B, 2048)."""
        return self.network.features(self.pixels(rgb_B3HW))

    def angles(self, rgb_B3HW: Tensor) -> Tensor:
        """Faces as above to (B, 2) pitch and yaw in radians, in the order of the bfm motion space."""
        return cast(Tensor, self.network(self.pixels(rgb_B3HW)))
