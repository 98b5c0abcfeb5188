"""The frozen networks of the animator's losses, as callables, so that recipes differ only here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LocateLandmarks = Callable[[Tensor, Tensor], Tensor]
DescribeFace = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Both take RGB (B, 3, H, W) in [-1, 1] and landmarks (B, 478, 3) px that say where the face is.

The images of a pair come with the landmarks of the real one, so that both are cut alike.
"""

EmbedIdentity = Callable[[NDArray[np.uint8], NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedNetworks:
    """Networks of Eq. 12 to 15; a recipe gives those that its loss weights need.

    Attributes:
        perceptual: RGB to feature maps (B, C, H, W) of several layers.
        face: outputs of the face networks, by the name of the loss term: "expression" and "gaze", features (B, F), and
            "parsing", scores (B, K, H, W) of K classes. One call, so that the networks can share work.
        terms: the names that ``face`` returns.
        landmarks: landmarks (B, 478, 3) px of an image, for evaluation.
        identity: embedding (D,) of the face in an image uint8 (H, W, 3) with landmarks (478, 3) px, for evaluation.
        networks: all modules among and within the above, to be moved with the training.
    """

    perceptual: Callable[[Tensor], Sequence[Tensor]] | None = None
    face: DescribeFace | None = None
    terms: tuple[str, ...] = ()
    landmarks: LocateLandmarks | None = None
    identity: EmbedIdentity | None = None
    networks: tuple[nn.Module, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        for network in self.networks:
            for tensor in (*network.parameters(), *network.buffers()):
                return tensor.device
        return torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move the networks."""
        for network in self.networks:
            network.to(device)
