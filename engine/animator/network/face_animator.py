"""The face animator of section 3.3: a portrait and a window of motion descriptors to an image.

Once per portrait: ``encode``. Once per frame: ``animate``. Shape suffixes: B rows, T frames, D descriptor (72),
S style, M directions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from engine.animator.network.decoder import Decoder
from engine.animator.network.descriptor_mapping import DescriptorMapping, MotionHead
from engine.animator.network.encoder import AppearanceEncoder
from engine.animator.network.equalised import freeze
from engine.animator.network.guided_decoder import FOLD, GUIDE_CHANNELS, GuidedDecoder
from engine.animator.network.motion_basis import MotionBasis
from engine.config import from_mapping
from engine.motion.space.coefficients import DESCRIPTOR_SIZE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FaceAnimatorConfig:
    """Layout of the animator; defaults are the released one.

    Attributes:
        widths: channels at 4, 8, 16, ... pixels, in the encoder and in the decoder; their number sets the size of the
            image.
        style_size: of the identity code and the latent space.
        directions: of the motion basis.
        past_frames, future_frames: descriptors seen before and after the shown one.
        mapping_width, mapping_kernel, mapping_dilations: convolutions over the window of descriptors.
        head_layers: linear layers from there to the magnitudes of the directions.
        transform_sizes: sizes in pixels of the levels that have an SFT block; without effect in a guided layout.
        guided: the decoder is a `GuidedDecoder`, whose widths end at half of the image's size; per frame it also takes
            what the geometric animator makes of the portrait (`engine.animator.mesh.guide`).
    """

    widths: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64)
    style_size: int = 512
    directions: int = 20
    past_frames: int = 13
    future_frames: int = 13
    mapping_width: int = 512
    mapping_kernel: int = 7
    mapping_dilations: tuple[int, ...] = (3, 3, 3)
    head_layers: int = 5
    transform_sizes: tuple[int, ...] = (64, 128, 256)
    guided: bool = False

    def __post_init__(self) -> None:
        sizes = (*self.widths, self.style_size, self.mapping_width, self.mapping_kernel, self.head_layers)
        if len(self.widths) < 2 or min((*sizes, *self.mapping_dilations)) < 1:
            raise ValueError("widths needs two numbers or more, and all sizes must be positive")
        if not 1 <= self.directions <= self.style_size:
            raise ValueError(f"directions must be within 1..{self.style_size}, not {self.directions}")
        if self.past_frames < 0 or self.future_frames < 0:
            raise ValueError("past_frames and future_frames must not be negative")
        needed = self.mapping_kernel + 2 * sum(self.mapping_dilations)
        if self.window_frames < needed:
            raise ValueError(f"the mapping needs a window of {needed} frames, not {self.window_frames}")
        unknown = set(self.transform_sizes) - {8 << index for index in range(len(self.widths) - 1)}
        if unknown:
            raise ValueError(f"the decoder has no levels of the transform_sizes {sorted(unknown)}")

    @classmethod
    def paper(cls) -> FaceAnimatorConfig:
        """The released layout."""
        return cls()

    @classmethod
    def guided_lite(cls) -> FaceAnimatorConfig:
        """The bundled weights' layout: narrow, without SFT and context in time, and guided by the mesh."""
        return cls(
            widths=(96, 96, 96, 64, 48, 32),
            style_size=128,
            directions=32,
            past_frames=0,
            future_frames=0,
            mapping_width=128,
            mapping_kernel=1,
            mapping_dilations=(),
            head_layers=2,
            transform_sizes=(),
            guided=True,
        )

    @classmethod
    def from_section(cls, section: Mapping[str, Any], name: str) -> FaceAnimatorConfig:
        """Read section ``name`` of a ``config.json``.

        Folders imported or trained by earlier versions also hold four keys that had one value left and went.

        Raises:
            WeightsCorrupt: a key is unknown or a value is refused.
        """
        guided = bool(section.get("guided", False))
        gone: dict[str, Any] = {
            "mask_mode": "paper" if guided else "released",
            "paint_sizes": [],
            "exact_grid": guided,
            "measured": False,
        }
        kept = {key: value for key, value in section.items() if key not in gone or value != gone[key]}
        return from_mapping(cls, kept, name)

    @property
    def window_frames(self) -> int:
        """Descriptors that one image needs."""
        return self.past_frames + 1 + self.future_frames

    @property
    def image_size(self) -> int:
        """Height and width of portrait and image in pixels."""
        return (2 * FOLD if self.guided else 2) << len(self.widths)


PRESETS: Mapping[str, FaceAnimatorConfig] = {
    "paper": FaceAnimatorConfig.paper(),
    "guided_lite": FaceAnimatorConfig.guided_lite(),
}
"""The layouts that weights are trained in, by name."""


class FaceAnimatorNetwork(nn.Module):
    """Encoder, descriptor mapping, motion basis and decoder."""

    def __init__(self, config: FaceAnimatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceAnimatorConfig.paper()
        self.encoder = AppearanceEncoder(config.widths, config.style_size, fold=FOLD if config.guided else 1)
        self.mapping = DescriptorMapping(
            DESCRIPTOR_SIZE, config.mapping_width, config.mapping_kernel, config.mapping_dilations
        )
        self.head = MotionHead(config.style_size, config.mapping_width, config.directions, config.head_layers)
        self.basis = MotionBasis(config.style_size, config.directions)
        self.decoder: Decoder | GuidedDecoder
        if config.guided:
            self.decoder = GuidedDecoder(config.widths, config.style_size)
        else:
            self.decoder = Decoder(config.widths, config.style_size, config.transform_sizes)

    def encode(self, rgb_B3HW: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Identity code z_R (B, S) and feature maps of portraits (B, 3, size, size) in [-1, 1]."""
        identity_code_BS, features = self.encoder(rgb_B3HW)
        return identity_code_BS, features

    def navigate(self, identity_code_BS: Tensor, window_BTD: Tensor, intensity_B: Tensor | None = None) -> Tensor:
        """Latent code z_R + lambda eta (Eq. 9 and section 4.3), (B, S).

        Args:
            window_BTD: float (B, past + 1 + future, 72), motion descriptors around the shown frame.
            intensity_B: lambda of each row: 0 is the canonical face, 1 (None) the whole motion.
        """
        magnitudes_BM = self.head(identity_code_BS, self.mapping(window_BTD))
        if intensity_B is not None:
            magnitudes_BM = magnitudes_BM * intensity_B[:, None]
        latent_BS: Tensor = identity_code_BS + self.basis(magnitudes_BM)
        return latent_BS

    def animate(
        self,
        identity_code_BS: Tensor,
        features: tuple[Tensor, ...],
        window_BTD: Tensor,
        intensity_B: Tensor | None = None,
    ) -> Tensor:
        """The per-frame part: images (B, 3, size, size) in [-1, 1]; arguments as `encode` and `navigate`."""
        image_B3HW: Tensor = self.decoder(self.navigate(identity_code_BS, window_BTD, intensity_B), features)
        return image_B3HW

    def correct(
        self,
        identity_code_BS: Tensor,
        features: tuple[Tensor, ...],
        window_BTD: Tensor,
        intensity_B: Tensor | None = None,
    ) -> Tensor:
        """By what a guided layout moves the mesh's frame: flow x, y in halves of it, (B, 2, size, size) float32;
        arguments as `animate`.
        """
        assert isinstance(self.decoder, GuidedDecoder), "only a guided layout corrects"
        latent_BS = self.navigate(identity_code_BS, window_BTD, intensity_B)
        return torch.tanh(self.decoder.correct(latent_BS, features).float())

    def forward(self, rgb_B3HW: Tensor, window_BTD: Tensor, intensity_B: Tensor | None = None) -> Tensor:
        """`encode` and `animate` in one call."""
        identity_code_BS, features = self.encode(rgb_B3HW)
        return self.animate(identity_code_BS, features, window_BTD, intensity_B)

    def blank_guide(self) -> tuple[Tensor, ...]:
        """What follows a frame's feature maps in a guided layout, zeros (1, 6, size, size); else nothing."""
        if not self.config.guided:
            return ()
        size = self.config.image_size
        return (next(self.parameters()).new_zeros(1, GUIDE_CHANNELS, size, size),)

    def freeze(self) -> Self:
        """Turn into constants, in place and for inference only, what depends on the weights alone."""
        freeze(self)
        return self.eval().requires_grad_(False)
