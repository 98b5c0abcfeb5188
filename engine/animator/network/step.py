"""The per-frame step of the neural animator: a portrait's constants and a motion window to bytes of an image.

Backends (engine/runtime) replace this one callable and nothing else; its eager form is their reference. On a graphics
card the step also finishes the images, see `engine.postprocess.graph`; on a CPU `engine.postprocess.Finish` does it
faster.

Shape suffixes: B rows, S style, T frames of the window, D descriptor, H and W pixels.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from engine.animator.network.face_animator import FaceAnimatorNetwork


class FrameStep(Protocol):
    """Inputs are on the animator's device and of its dtype; the image is the caller's own. Any thread may call it."""

    def __call__(
        self,
        identity_code_BS: Tensor,
        window_BTD: Tensor,
        intensity_B: Tensor,
        features: tuple[Tensor, ...],
        finished_B: Tensor | None = None,
    ) -> Tensor:
        """Pictures (B, H, W, 3), uint8 RGB.

        Args:
            finished_B: 1 for rows to be labelled and marked, 0 for others; for steps that finish images, and None
                for those that do not.
        """


def eager_step(network: FaceAnimatorNetwork) -> FrameStep:
    """The step as PyTorch runs it."""

    def step(
        identity_code_BS: Tensor,
        window_BTD: Tensor,
        intensity_B: Tensor,
        features: tuple[Tensor, ...],
        finished_B: Tensor | None = None,
    ) -> Tensor:
        assert finished_B is None, "the eager step does not finish"
        return to_bytes(network.animate(identity_code_BS, features, window_BTD, intensity_B))

    return step


def to_levels(image_B3HW: Tensor) -> Tensor:
    """Pictures in [-1, 1], and what overshoots, as whole levels 0 to 255 of RGB, float32 (B, H, W, 3).

    Rounded in float32: half precision has no room for the half-steps between 128 and 255.
    """
    return (image_B3HW.float() * 127.5 + 127.5).round().clamp(0, 255).permute(0, 2, 3, 1)


def to_bytes(image_B3HW: Tensor) -> Tensor:
    """`to_levels` as uint8."""
    return to_levels(image_B3HW).to(torch.uint8).contiguous()
