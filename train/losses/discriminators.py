"""PatchGAN over time (D_te, D_tf of App. B.2): every output judges one stretch of a sequence.

Shape suffixes: B rows, T frames, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(nn.Module):
    """1-D PatchGAN: strided convs, leaky ReLU, spectral normalisation, a score for each patch."""

    def __init__(self, channels: int, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size_in = channels
        for level in range(depth):
            size = width * 2**level
            conv = nn.Conv1d(size_in, size, 5, stride=2, padding=2)
            layers += [nn.utils.parametrizations.spectral_norm(conv), nn.LeakyReLU(0.2)]
            size_in = size
        layers.append(nn.Conv1d(size_in, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, sequence_BTC: Tensor) -> Tensor:
        """Scores (B, patches) of sequences (B, T, C)."""
        score: Tensor = self.layers(sequence_BTC.transpose(1, 2))
        return score.squeeze(1)
