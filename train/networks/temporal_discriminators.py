"""Discriminators of stage 2 (App. B.2): D_te and D_tf, PatchGANs over time, and D_eye, a transformer.

Shape suffixes: B rows, T frames, C channels, A audio embedding, L eye landmarks (22), W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from train.networks.positions import sinusoids


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchConfig:
    """Layout of a PatchGAN over time; defaults are the 70-sample layout of Isola et al. 2017 in one dimension.

    Attributes:
        depth: convs of stride 2, of ``width``, 2 ``width``, ...
        plain: convs of stride 1 after them, before the scores.
        normalisation: after every conv but the first and the scores. Isola's batch norm at batch size 1 is instance
            norm, which also keeps rows apart.
    """

    width: int = 64
    depth: int = 3
    plain: int = 1
    kernel: int = 4
    normalisation: Literal["instance", "spectral"] = "instance"

    @classmethod
    def lite(cls) -> PatchConfig:
        """Small and spectrally normalised, for little data."""
        return cls(width=16, plain=0, kernel=5, normalisation="spectral")


class PatchDiscriminator(nn.Module):
    """1-D PatchGAN: every output judges one stretch of a sequence."""

    def __init__(self, channels: int, config: PatchConfig | None = None) -> None:
        super().__init__()
        config = config or PatchConfig()
        layers: list[nn.Module] = []
        size_in = channels
        for level in range(config.depth + config.plain):
            size = config.width * 2**level
            stride = 2 if level < config.depth else 1
            conv = nn.Conv1d(size_in, size, config.kernel, stride, padding=(config.kernel - 1) // 2)
            if config.normalisation == "spectral":
                layers.append(nn.utils.parametrizations.spectral_norm(conv))
            else:
                layers += [conv, nn.InstanceNorm1d(size)] if level else [conv]
            layers.append(nn.LeakyReLU(0.2))
            size_in = size
        last = 3 if config.kernel % 2 else config.kernel
        layers.append(nn.Conv1d(size_in, 1, last, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, sequence_BTC: Tensor) -> Tensor:
        """Scores (B, patches) of sequences (B, T, C)."""
        score: Tensor = self.layers(sequence_BTC.transpose(1, 2))
        return score.squeeze(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeDiscriminatorConfig:
    """Layout of D_eye. The paper gives none; these defaults are ours."""

    width: int = 256
    layers: int = 4
    heads: int = 4
    spread: float = 0.02
    """Usual motion of an eye or brow landmark, face units; landmarks are taken in units of it."""


class EyeDiscriminator(nn.Module):
    """D_eye: judges whether eyes and brows go with what is heard; a score a frame."""

    neutral_L3: Tensor

    def __init__(self, audio_size: int, neutral_L3: Tensor, config: EyeDiscriminatorConfig | None = None) -> None:
        """``neutral_L3`` (22, 3): the eye and brow landmarks of expression zero, face units."""
        super().__init__()
        self.config = config or EyeDiscriminatorConfig()
        width = self.config.width
        self.register_buffer("neutral_L3", neutral_L3.clone())
        self.input = nn.Linear(audio_size + neutral_L3.numel(), width)
        layer = nn.TransformerEncoderLayer(
            width, self.config.heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, self.config.layers, enable_nested_tensor=False)
        self.score = nn.Linear(width, 1)

    def forward(self, audio_BTA: Tensor, landmarks_BTL3: Tensor) -> Tensor:
        """Scores (B, T) of audio embeddings (B, T, A) beside landmarks (B, T, 22, 3) in face units."""
        moved_BTC = ((landmarks_BTL3 - self.neutral_L3) / self.config.spread).flatten(2)
        x_BTW = self.input(torch.cat([audio_BTA, moved_BTC], -1))
        x_BTW = self.layers(x_BTW + sinusoids(x_BTW.shape[1], x_BTW.shape[2]).to(x_BTW))
        score_BT1: Tensor = self.score(x_BTW)
        return score_BT1.squeeze(-1)
