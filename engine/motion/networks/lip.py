"""Lip network: speech, first expression and eye feature to expression, frame by frame (Eq. 5, E_map of Eq. 8).

Shape suffixes: N mel windows, B rows, An audio embedding, E expression (64), F eye feature (21).
"""

from __future__ import annotations

import dataclasses
from typing import Self

import torch
from torch import Tensor, nn

from engine.motion.networks.audio_encoder import AudioEncoder, AudioEncoderConfig

_HIDDEN_SLOPE = 0.01


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LipConfig:
    """Layout of the lip network; defaults are the released expression network.

    ``eye_feature_size`` 0 leaves the eye feature out, as the released single-stage network does.
    ``map_widths`` are the hidden layers of the map: none in the release (a linear map), one in ``lite``.
    """

    audio_widths: tuple[int, ...] = (32, 64, 128, 256)
    audio_mel_strides: tuple[int, ...] = (1, 3, 3, 3)
    audio_time_strides: tuple[int, ...] = (1, 1, 3, 2)
    audio_residuals: int = 2
    audio_size: int = 512
    audio_columns: int = 16
    expression_size: int = 64
    eye_feature_size: int = 0
    map_widths: tuple[int, ...] = ()

    @classmethod
    def paper(cls, *, eye_feature: bool = False) -> LipConfig:
        """The released layout: single stage, or with the eye feature that the two-stage form feeds back."""
        return cls(eye_feature_size=21 if eye_feature else 0)

    @classmethod
    def lite(cls, *, eye_feature: bool = True) -> LipConfig:
        """The bundled default's layout."""
        return cls(
            audio_widths=(16, 32, 96),
            audio_mel_strides=(4, 2, 2),
            audio_time_strides=(2, 2, 2),
            audio_residuals=1,
            audio_size=128,
            eye_feature_size=21 if eye_feature else 0,
            map_widths=(256,),
        )

    def audio_encoder(self) -> AudioEncoderConfig:
        """The encoder's part of this config."""
        return AudioEncoderConfig(
            widths=self.audio_widths,
            mel_strides=self.audio_mel_strides,
            time_strides=self.audio_time_strides,
            residuals=self.audio_residuals,
            size=self.audio_size,
            columns=self.audio_columns,
        )

    def __post_init__(self) -> None:
        if self.expression_size < 1 or self.eye_feature_size < 0 or any(width < 1 for width in self.map_widths):
            raise ValueError("expression_size and map_widths must be positive, eye_feature_size not negative")
        self.audio_encoder()


class LipNetwork(nn.Module):
    """Audio encoder and frame-wise map to expressions. It has no state: every frame stands alone."""

    def __init__(self, config: LipConfig | None = None) -> None:
        super().__init__()
        self.config = config or LipConfig.paper()
        self.audio_encoder = AudioEncoder(self.config.audio_encoder())
        width = self.config.audio_size + self.config.expression_size + self.config.eye_feature_size
        layers: list[nn.Module] = []
        for hidden in self.config.map_widths:
            layers += [nn.Linear(width, hidden), nn.LeakyReLU(_HIDDEN_SLOPE)]
            width = hidden
        layers.append(nn.Linear(width, self.config.expression_size))
        self.map = nn.Sequential(*layers)

    def encode_audio(self, mel_NFW: Tensor) -> Tensor:
        """Embed mel windows: float32 (N, 80, columns) in [-4, 4] to float32 (N, A)."""
        embedding: Tensor = self.audio_encoder(mel_NFW)
        return embedding

    def forward(self, audio_BA: Tensor, expression0_BE: Tensor, eye_feature_BF: Tensor | None = None) -> Tensor:
        """Expression of each frame (Eq. 5).

        Args:
            audio_BA: float32 (..., A) from `encode_audio`.
            expression0_BE: float32 (..., 64), the portrait's own expression.
            eye_feature_BF: float32 (..., 21) [blink ratio | brow displacements]; None if and only if the
                config leaves it out.

        Returns:
            float32 (..., 64), the full expression (not a residual).

        Raises:
            ValueError: an eye feature is missing or given against the config.
        """
        if (eye_feature_BF is None) != (self.config.eye_feature_size == 0):
            wanted = "none" if self.config.eye_feature_size == 0 else str(self.config.eye_feature_size)
            raise ValueError(f"this lip network takes an eye feature of size: {wanted}")
        parts = [audio_BA, expression0_BE]
        if eye_feature_BF is not None:
            parts.append(eye_feature_BF)
        expression: Tensor = self.map(torch.cat(parts, dim=-1))
        return expression

    def fold_norms(self) -> Self:
        """Merge the encoder's BatchNorms into its convs, in place, for inference."""
        self.audio_encoder.fold_norms()
        return self
