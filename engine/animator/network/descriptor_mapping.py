"""From the motion descriptors around a frame to where its image lies in the latent space (Eq. 9).

    window of descriptors --mapping--> driving feature rho --+
                                                             |--head--> magnitudes xi --basis--> Q xi
    identity code z_R ---------------------------------------+

The window is narrowed by convolutions without padding; what is left of it is averaged.
Shape suffixes: B rows, T frames, D descriptor (72), S style, M directions.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator.network.equalised import EqualisedLinear

_SLOPE = 0.1


class DescriptorMapping(nn.Module):
    """Convolutions over time, then the mean."""

    def __init__(self, descriptor_size: int, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Conv1d(descriptor_size, width, kernel)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=dilation) for dilation in dilations)
        self.dilations = dilations

    def forward(self, window_BTD: Tensor) -> Tensor:
        """Driving feature (B, S) of each window (B, T, D)."""
        x_BST: Tensor = self.first(window_BTD.transpose(1, 2))
        for layer, dilation in zip(self.layers, self.dilations, strict=True):
            x_BST = layer(F.leaky_relu(x_BST, _SLOPE)) + x_BST[:, :, dilation:-dilation]
        return x_BST.mean(2)


class MotionHead(nn.Module):
    """Magnitudes of the motion directions; linear layers without activations, as the release has them."""

    def __init__(self, style_size: int, feature_size: int, directions: int, layers: int) -> None:
        super().__init__()
        sizes = [style_size + feature_size, *[style_size] * (layers - 1), directions]
        self.layers = nn.Sequential(*(EqualisedLinear(size, out) for size, out in itertools.pairwise(sizes)))

    def forward(self, identity_code_BS: Tensor, feature_BS: Tensor) -> Tensor:
        """Magnitudes xi (B, M)."""
        magnitudes_BM: Tensor = self.layers(torch.cat([identity_code_BS, feature_BS], dim=1))
        return magnitudes_BM
