"""The per-frame step of the neural animator: a portrait's constants and a motion window to bytes of an image.

Backends (engine/runtime) replace this one callable and nothing else; its eager form is their reference. On a graphics
card the step also finishes the images, see `engine.postprocess.graph`; on a CPU `engine.postprocess.Postprocess` is
faster.

Shape suffixes: B rows, S style, T frames of the window, D descriptor, C channels, H and W pixels, P places and S slots
of a watermark's pattern.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.animator.network.face_animator import FaceAnimatorNetwork


@dataclass(frozen=True, slots=True)
class FrameInputs:
    """What a step takes, all on the animator's device and of its dtype.

    Attributes:
        identity_code_BS, features: of the rows' portraits; feature maps (B, C, H, W), and a guide where there is one.
        window_BTD: motion descriptors; intensity_B: lambda of section 4.3.
        finished_B: 1 for rows to be labelled and watermarked, 0 for others; None for a step that does not finish.
    """

    identity_code_BS: Tensor
    window_BTD: Tensor
    intensity_B: Tensor
    features: tuple[Tensor, ...]
    finished_B: Tensor | None = None

    def flat(self, pattern_SP: Tensor | None = None) -> tuple[Tensor, ...]:
        """The inputs of `step_graph`, or of `finished_graph`, in order.

        Args:
            pattern_SP: of the watermark, for a step that finishes; `watermark_pattern`.
        """
        motion = (self.identity_code_BS, self.window_BTD, self.intensity_B)
        if self.finished_B is None or pattern_SP is None:
            assert self.finished_B is None, "this step does not finish"
            assert pattern_SP is None, "this step is told which rows to finish"
            return (*motion, *self.features)
        return (*motion, self.finished_B, pattern_SP, *self.features)


FrameStep = Callable[[FrameInputs], Tensor]
"""Inputs to images (B, H, W, 3), uint8 RGB, or to flows (B, 2, H, W), see `corrects`; the caller's own. Any
thread may call it.
"""


def corrects(network: FaceAnimatorNetwork, device: torch.device | str) -> bool:
    """Whether a step returns `FaceAnimatorNetwork.correct`, to be applied to the mesh's frame of any size.

    So it is on a CPU, where that frame is; a graphics card makes and finishes the whole image, of the network's size.
    """
    return network.config.guided and torch.device(device).type == "cpu"


def eager_step(network: FaceAnimatorNetwork, device: torch.device | str = "cpu") -> FrameStep:
    """The step as PyTorch runs it."""
    correcting = corrects(network, device)

    def step(inputs: FrameInputs) -> Tensor:
        assert inputs.finished_B is None, "the eager step does not finish"
        given = (inputs.identity_code_BS, inputs.features, inputs.window_BTD, inputs.intensity_B)
        return network.correct(*given) if correcting else to_bytes(network.animate(*given))

    return step


def to_levels(image_B3HW: Tensor) -> Tensor:
    """Images in [-1, 1], and what overshoots, as whole levels 0 to 255 of RGB, float32 (B, H, W, 3).

    Rounded in float32: half precision has no room for the half-steps between 128 and 255.
    """
    return (image_B3HW.float() * 127.5 + 127.5).round().clamp(0, 255).permute(0, 2, 3, 1)


def to_bytes(image_B3HW: Tensor) -> Tensor:
    """`to_levels` as uint8."""
    return to_levels(image_B3HW).to(torch.uint8).contiguous()
