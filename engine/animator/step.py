"""The per-frame step of the neural animator: a portrait's constants and a motion window to bytes of a picture.

Backends (engine/runtime) replace this one callable and nothing else; its eager form is their reference.

Shape suffixes: B rows, S style, T frames of the window, D descriptor, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.animator.face_animator import FaceAnimatorNetwork

__all__ = ["FrameStep", "eager_step", "to_bytes"]

FrameStep = Callable[[Tensor, Tensor, Tensor, tuple[Tensor, ...]], Tensor]
"""(identity_code_BS, window_BTD, intensity_B, features) -> rgb_BHW3 uint8.

Inputs are on the animator's device and of its dtype; the picture is the caller's own. Any thread may call it.
"""


def eager_step(network: FaceAnimatorNetwork) -> FrameStep:
    """The step as PyTorch runs it."""

    def step(
        identity_code_BS: Tensor, window_BTD: Tensor, intensity_B: Tensor, features: tuple[Tensor, ...]
    ) -> Tensor:
        return to_bytes(network.animate(identity_code_BS, features, window_BTD, intensity_B))

    return step


def to_bytes(picture_B3HW: Tensor) -> Tensor:
    """Pictures in [-1, 1], and what overshoots, as uint8 RGB (B, H, W, 3).

    Rounded in float32: half precision has no room for the half-steps between 128 and 255.
    """
    levels_B3HW = (picture_B3HW.float() * 127.5 + 127.5).round().clamp(0, 255)
    return levels_B3HW.permute(0, 2, 3, 1).to(torch.uint8).contiguous()
