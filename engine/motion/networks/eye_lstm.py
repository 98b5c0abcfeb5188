"""Eye motion generator: speech and noise to blinks and brows, frame by frame (Eq. 6-7, G_lstm of Eq. 8).

    frame 0:     f_0 itself
    frame t > 0: h_t = LSTM([audio_t | omega_0 | e_0 | z_t]);  f_t = head(omega_0 + h_t)
                 where omega_0 = encoder(f_0)

Shape suffixes: B rows, T frames, An audio embedding, E expression (64), F eye feature (21), Z noise, H hidden.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from engine.streaming import State, StreamingLSTM, StreamingLSTMState

_SLOPE = 0.01


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EyeConfig:
    """Layout of the eye network; defaults are the released two-stage layout."""

    audio_size: int = 512
    expression_size: int = 64
    eye_feature_size: int = 21
    noise_size: int = 512
    hidden_size: int = 512
    layers: int = 2
    bottleneck: int = 128

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be positive, not {getattr(self, field.name)}")

    @classmethod
    def paper(cls) -> EyeConfig:
        """The released layout."""
        return cls()

    @classmethod
    def lite(cls) -> EyeConfig:
        """The bundled default's layout; takes the embedding of the lite lip network."""
        return cls(audio_size=128, noise_size=32, hidden_size=128, bottleneck=64)


@dataclasses.dataclass(frozen=True, slots=True)
class EyeMotionState(State):
    """LSTM state, and 1.0 in each row that is past its frame 0 (a float, so that it multiplies)."""

    lstm: StreamingLSTMState
    begun_B: Tensor


class EyeMotionNetwork(nn.Module):
    """Eye features over time."""

    def __init__(self, config: EyeConfig | None = None) -> None:
        super().__init__()
        self.config = config or EyeConfig.paper()
        hidden, bottleneck = self.config.hidden_size, self.config.bottleneck
        features = self.config.eye_feature_size
        self.feature_encoder = nn.Sequential(
            nn.Linear(features, bottleneck), nn.LeakyReLU(_SLOPE), nn.Linear(bottleneck, hidden)
        )
        inputs = self.config.audio_size + hidden + self.config.expression_size + self.config.noise_size
        self.lstm = StreamingLSTM(inputs, hidden, self.config.layers)
        self.head = nn.Sequential(nn.Linear(hidden, bottleneck), nn.LeakyReLU(_SLOPE), nn.Linear(bottleneck, features))

    def init_state(self, batch: int, device: torch.device | str = "cpu") -> EyeMotionState:
        """State of ``batch`` streams before their frame 0."""
        return EyeMotionState(self.lstm.init_state(batch, device), torch.zeros(batch, device=device))

    def step(
        self,
        audio_BA: Tensor,
        expression0_BE: Tensor,
        eye_feature0_BF: Tensor,
        noise_BZ: Tensor,
        state: EyeMotionState,
    ) -> Tensor:
        """One frame for every row; rows before their frame 0 answer with ``eye_feature0_BF``.

        Args:
            audio_BA: float32 (B, A) from `LipNetwork.encode_audio`.
            expression0_BE: float32 (B, 64), the portrait's expression.
            eye_feature0_BF: float32 (B, 21) [blink ratio | brow displacements] of the portrait.
            noise_BZ: float32 (B, Z), standard normal; unused in frame 0, but drawn there too.
            state: from `init_state`, moved on in place.

        Returns:
            float32 (B, 21).
        """
        omega0_BH = self.feature_encoder(eye_feature0_BF)
        x_BD = torch.cat([audio_BA, omega0_BH, expression0_BE, noise_BZ], dim=-1)
        begun_B = state.begun_B > 0
        h_BH = self.lstm.step(x_BD, state.lstm, active=begun_B)
        feature_BF = torch.where(begun_B[:, None], self.head(h_BH + omega0_BH), eye_feature0_BF)
        state.begun_B.fill_(1.0)
        return feature_BF

    def forward(self, audio_BTA: Tensor, expression0_BE: Tensor, eye_feature0_BF: Tensor, noise_BTZ: Tensor) -> Tensor:
        """Whole sequences from frame 0, with torch's fused LSTM; equals `step` frame by frame.

        Args:
            audio_BTA: float32 (B, T, A).
            expression0_BE, eye_feature0_BF: as in `step`.
            noise_BTZ: float32 (B, T, Z); row 0 is not used.

        Returns:
            float32 (B, T, 21).
        """
        rows, frames, _ = audio_BTA.shape
        omega0_BH = self.feature_encoder(eye_feature0_BF)
        x_BTD = torch.cat(
            [
                audio_BTA[:, 1:],
                omega0_BH[:, None].expand(rows, frames - 1, -1),
                expression0_BE[:, None].expand(rows, frames - 1, -1),
                noise_BTZ[:, 1:],
            ],
            dim=-1,
        )
        first_B1F = eye_feature0_BF[:, None]
        if frames == 1:
            return first_B1F.clone()
        feature_BTF = self.head(self.lstm(x_BTD) + omega0_BH[:, None])
        return torch.cat([first_B1F, feature_BTF], dim=1)
