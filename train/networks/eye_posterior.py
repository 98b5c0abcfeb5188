"""Posterior of stage 2's noise, for training it as a conditional VAE.

Shape suffixes: B rows, T frames, F eye feature (21), Z noise.
"""

import torch
from torch import Tensor, nn


class EyePosterior(nn.Module):
    """q(z_t | f): two convolutions over 17 frames around t."""

    def __init__(self, features: int, noise: int) -> None:
        super().__init__()
        width = 96
        last = nn.Conv1d(width, 2 * noise, 1)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(
            nn.Conv1d(2 * features, width, 9, padding=4),
            nn.LeakyReLU(0.1),
            nn.Conv1d(width, width, 9, padding=4),
            nn.LeakyReLU(0.1),
            last,
        )

    def forward(self, feature_BTF: Tensor, feature0_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B,T,Z) of z."""
        start_BTF = feature0_BF[:, None].expand_as(feature_BTF)
        out_BCT = self.layers(torch.cat([feature_BTF - start_BTF, start_BTF], -1).transpose(1, 2))
        mean_BTZ, log_variance_BTZ = out_BCT.transpose(1, 2).chunk(2, -1)
        return mean_BTZ, log_variance_BTZ.clamp(-8, 4)
