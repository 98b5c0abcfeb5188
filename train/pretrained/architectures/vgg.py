"""The perceptual network of Eq. 12: VGG19 (Simonyan and Zisserman 2015) up to its fourth resolution.

    256 px --conv1_1--> 64 ch | 128 px --conv2_1--> 128 ch | 64 px --conv3_1--> 256 ch | 32 px --conv4_1--> 512 ch

Shape suffixes: B rows, C channels, H and W pixels.
"""

from torch import Tensor, nn

from train.pretrained.pixels import ImageNetPixels

_LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512)
"""Widths of the 3x3 convolutions in order, 0 for a pooling; the rest of VGG19 is not needed."""
_TAPS = (1, 6, 11, 20)
"""The first activation of each resolution, as numbered in the published file."""


class Vgg19Features(nn.Module):
    """Images to four feature maps; names as in torchvision's file (``features.0.weight`` ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = ImageNetPixels()
        self.features = nn.Sequential()
        channels = 3
        for width in _LAYERS:
            if width:
                self.features.extend([nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()])
                channels = width
            else:
                self.features.append(nn.MaxPool2d(2))

    def forward(self, rgb_B3HW: Tensor) -> tuple[Tensor, ...]:
        """Float32 (B, 3, H, W) in [-1, 1] to the activations of conv1_1, conv2_1, conv3_1 and conv4_1.

        Returns: (B, 64, H, W), (B, 128, H/2, W/2), (B, 256, H/4, W/4) and (B, 512, H/8, W/8), all >= 0.
        """
        x_BCHW = self.pixels(rgb_B3HW)
        maps = []
        for index, layer in enumerate(self.features):
            x_BCHW = layer(x_BCHW)
            if index in _TAPS:
                maps.append(x_BCHW)
        return tuple(maps)
