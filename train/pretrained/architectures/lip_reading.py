"""The lip reading network of Eq. 23: the visual front end of Ma et al. 2022.

    grey (B, T, 88, 88) --3-D conv over 5 frames, pool--> (B, 64, T, 22, 22) --ResNet-18 a frame, mean--> (B, T, 512)

What follows in a published file (a temporal network and a word or sentence decoder) is not used: the features of
the front end are per frame, as Eq. 23 asks. Shape suffixes: B rows, T frames, C channels, H and W pixels.
"""

from typing import Literal

from torch import Tensor, nn

from train.pretrained.architectures.basic_resnet import BasicTrunk

_MEAN, _STD = 0.421, 0.165


class LipReadingFeatures(nn.Module):
    """Mouth crops to one feature vector a frame.

    Args:
        activation: earlier files of the project learned PReLUs; those of 2022 use swish, which has no weights.
            `load_pretrained` sees it in the file.
    """

    def __init__(self, activation: Literal["prelu", "swish"] = "swish") -> None:
        super().__init__()
        self.activation = activation

        def make(channels: int) -> nn.Module:
            return nn.PReLU(channels) if activation == "prelu" else nn.SiLU()

        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, 64, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
            nn.BatchNorm3d(64),
            make(64),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.trunk = BasicTrunk(make)

    def forward(self, grey_BTHW: Tensor) -> Tensor:
        """Mouth crops, float32 (B, T, 88, 88) in [0, 1] at 25 frames a second, to features (B, T, 512).

        Crops are centred on the mouth, upright, and scaled as `train.rendering.mesh` says.
        """
        x_B1THW = ((grey_BTHW - _MEAN) / _STD)[:, None]
        x_BCTHW: Tensor = self.frontend3D(x_B1THW)
        frames = x_BCTHW.transpose(1, 2)
        features: Tensor = self.trunk(frames.flatten(0, 1))[-1].mean((2, 3))
        return features.reshape(*frames.shape[:2], -1)
