"""The Full-transformer row of Table 3: G_lstm replaced by a causal transformer with the same interface.

Shape suffixes: B rows, T frames, A audio embedding, E expression (64), F eye feature (21), Z noise, H hidden.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from train.networks.positions import sinusoids

_SLOPE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeTransformerConfig:
    """Layout; sizes that the LSTM has too are its released ones, the rest, which the paper does not give, is ours."""

    audio_size: int = 512
    expression_size: int = 64
    eye_feature_size: int = 21
    noise_size: int = 512
    hidden_size: int = 512
    layers: int = 4
    heads: int = 8
    feed_forward: int = 1024
    bottleneck: int = 128

    def __post_init__(self) -> None:
        if self.hidden_size % (2 * self.heads):
            raise ValueError("hidden_size must be a multiple of twice the heads")


class EyeMotionTransformer(nn.Module):
    """Eye features over time; a frame sees itself and those before it. For whole sequences: it has no stream form."""

    def __init__(self, config: EyeTransformerConfig | None = None) -> None:
        super().__init__()
        self.config = config or EyeTransformerConfig()
        hidden, bottleneck = self.config.hidden_size, self.config.bottleneck
        features = self.config.eye_feature_size
        self.feature_encoder = nn.Sequential(
            nn.Linear(features, bottleneck), nn.LeakyReLU(_SLOPE), nn.Linear(bottleneck, hidden)
        )
        inputs = self.config.audio_size + hidden + self.config.expression_size + self.config.noise_size
        self.input = nn.Linear(inputs, hidden)
        layer = nn.TransformerEncoderLayer(
            hidden,
            self.config.heads,
            self.config.feed_forward,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, self.config.layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(hidden, bottleneck), nn.LeakyReLU(_SLOPE), nn.Linear(bottleneck, features))

    def forward(self, audio_BTA: Tensor, expression0_BE: Tensor, eye_feature0_BF: Tensor, noise_BTZ: Tensor) -> Tensor:
        """Features (B, T, 21), as those of `EyeMotionNetwork.forward`: frame 0 is ``eye_feature0_BF``."""
        rows, frames, _ = audio_BTA.shape
        omega0_BTH = self.feature_encoder(eye_feature0_BF)[:, None].expand(rows, frames, -1)
        start_BTE = expression0_BE[:, None].expand(rows, frames, -1)
        x_BTH = self.input(torch.cat([audio_BTA, omega0_BTH, start_BTE, noise_BTZ], -1))
        x_BTH = x_BTH + sinusoids(frames, x_BTH.shape[2]).to(x_BTH)
        later = torch.ones(frames, frames, dtype=torch.bool, device=x_BTH.device).triu(1)
        change_BTH = self.layers(x_BTH, mask=later)
        feature_BTF = self.head(omega0_BTH + change_BTH)
        return torch.cat([eye_feature0_BF[:, None], feature_BTF[:, 1:]], 1)
