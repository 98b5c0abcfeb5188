"""Expressions to lip reading features: rendered mouth crops through a frozen network (Phi_read of Eq. 23).

Shape suffixes: R rows, K frames of a row, E expression (64), H and W pixels, D features.
"""

import torch
from torch import Tensor, nn

from train.rendering.mouth import MouthRenderer


class MouthReader(nn.Module):
    """A renderer and a pretrained network; neither is trained."""

    def __init__(self, renderer: MouthRenderer, network: nn.Module) -> None:
        """``network``: grey crops float32 (R,K,H,W) in [0, 1], consecutive frames, to features (R,K,D)."""
        super().__init__()
        self.renderer = renderer
        self.network = network.eval().requires_grad_(False)

    def forward(self, expression_RKE: Tensor) -> Tensor:
        """Expressions (R,K,64) to features (R,K,D); gradients reach the expressions."""
        features_RKD: Tensor = self.network(self.renderer(expression_RKE).squeeze(2))
        return features_RKD.float()


class RandomLipReader(nn.Module):
    """A tiny network with random weights: shows that gradients pass; it has never read a lip. For toy recipes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv3d(1, 8, (3, 5, 5), (1, 3, 3), (1, 2, 2)),
                nn.LeakyReLU(0.1),
                nn.Conv3d(8, 16, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
            )

    def forward(self, grey_RKHW: Tensor) -> Tensor:
        """Grey crops (R,K,H,W) in [0, 1] to features (R,K,D x places), each about its mean over places."""
        maps_RDKHW: Tensor = self.layers(grey_RKHW[:, None] - 0.5)
        flat = maps_RDKHW.transpose(1, 2).flatten(3)
        return (flat - flat.mean(-1, keepdim=True)).flatten(2)
