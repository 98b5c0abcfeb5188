"""The animator's per-frame step as a module from named tensors to named tensors, which backends export or compile.

    descriptor window, portrait's code and features --animator--> image --[label, watermark]--> RGB or I420

The batch is the first dimension of every tensor and may vary; all other sizes are fixed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.animator.network.face_animator import FaceAnimatorNetwork
from engine.animator.network.step import to_bytes, to_levels
from engine.motion.diffusion.window import PoseWindow
from engine.motion.space.coefficients import DESCRIPTOR_SIZE
from engine.postprocess import WatermarkConfig
from engine.postprocess.graph import PostprocessGraph, watermark_pattern
from kernels.yuv420 import rgb_to_yuv420_reference

_MOTION_INPUTS = ("identity_code", "window", "intensity")

LAYOUTS = ("rgb", "i420")
"""Of finished frames: uint8 (B, size, size, 3), or uint8 (B, 3 size / 2, size) of BT.601 as encoders take it."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A module in evaluation mode with everything an exporter asks for.

    Attributes:
        name: of the graph and of its file.
        module: takes the inputs in order and returns one tensor or a tuple of them.
        inputs: example tensors by name, of one row.
        outputs: names of what comes back.
        shared: names of inputs that all rows have in common, and which so have no dimension of rows.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    shared: tuple[str, ...] = ()

    def example(self, rows: int) -> tuple[Tensor, ...]:
        """The inputs for a batch."""
        return tuple(
            tensor if name in self.shared else tensor.repeat(rows, *[1] * (tensor.ndim - 1))
            for name, tensor in self.inputs.items()
        )


def animator_graph(network: FaceAnimatorNetwork) -> Graph:
    """The per-frame part of the animator, to ``image`` (B, 3, size, size) in [-1, 1]; ``network`` is frozen by this."""
    return Graph("animator", _Animator(network), _animator_inputs(network), ("image",))


def step_graph(network: FaceAnimatorNetwork) -> Graph:
    """The step of a CPU: to ``rgb``, uint8 (B, size, size, 3), or of a guided network to ``flow``, float32
    (B, 2, size, size) of `FaceAnimatorNetwork.correct`; ``network`` is frozen by this.
    """
    inputs = _animator_inputs(network)
    if network.config.guided:
        return Graph("correction", _Correction(network), inputs, ("flow",))
    return Graph("frame", _Frame(network), inputs, ("rgb",))


def finished_graph(network: FaceAnimatorNetwork, layout: str = "rgb") -> Graph:
    """`animator_graph` up to what leaves: labelled and marked images; ``network`` is frozen by this.

    Args:
        layout: one of `LAYOUTS`.

    Raises:
        ValueError: its images are of a size that no graph can mark, see `PostprocessGraph`.
    """
    inputs = _animator_inputs(network)
    like = inputs["window"]
    features = {name: inputs.pop(name) for name in list(inputs) if name not in _MOTION_INPUTS}
    inputs |= {
        "finished": like.new_ones(1),
        "pattern": watermark_pattern(WatermarkConfig()).to(like.device),
        **features,
    }
    return Graph("finished", FinishedFrame(network, layout), inputs, (layout,), shared=("pattern",))


def window_graph(window: PoseWindow) -> Graph:
    """A hop of a window's poses on the CPU, `PoseWindow.sample`, for one row."""
    config, denoiser = window.config, window.denoiser.config
    windows = {"residual": denoiser.channels, "noise": denoiser.channels, "prosody": denoiser.prosody_size}
    inputs = {name: torch.zeros(1, config.window, size) for name, size in windows.items()}
    inputs["initial"] = torch.zeros(1, denoiser.channels)
    return Graph("window", _Window(window), inputs, ("hop",))


def _animator_inputs(network: FaceAnimatorNetwork) -> dict[str, Tensor]:
    config = network.freeze().config
    like = next(network.parameters())
    rgb_13HW = like.new_zeros(1, 3, config.image_size, config.image_size)
    with torch.no_grad():
        identity_code, features = network.encode(rgb_13HW)
    return {
        "identity_code": identity_code,
        "window": like.new_zeros(1, config.window_frames, DESCRIPTOR_SIZE),
        "intensity": like.new_ones(1),
        **{f"feature_{maps.shape[-1]}": maps for maps in features},
        **dict(zip(("guide",), network.blank_guide(), strict=False)),
    }


class _Animator(nn.Module):
    def __init__(self, network: FaceAnimatorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, identity_code_BS: Tensor, window_BTD: Tensor, intensity_B: Tensor, *features: Tensor) -> Tensor:
        return self.network.animate(identity_code_BS, features, window_BTD, intensity_B)


class _Frame(_Animator):
    def forward(self, identity_code_BS: Tensor, window_BTD: Tensor, intensity_B: Tensor, *features: Tensor) -> Tensor:
        return to_bytes(super().forward(identity_code_BS, window_BTD, intensity_B, *features))


class _Correction(_Animator):
    def forward(self, identity_code_BS: Tensor, window_BTD: Tensor, intensity_B: Tensor, *features: Tensor) -> Tensor:
        return self.network.correct(identity_code_BS, features, window_BTD, intensity_B)


class _Window(nn.Module):
    def __init__(self, window: PoseWindow) -> None:
        super().__init__()
        self.window, self.denoiser, self.unconditional = window, window.denoiser, window.unconditional

    def forward(self, residual_BWC: Tensor, noise_BWC: Tensor, prosody_BWM: Tensor, initial_BC: Tensor) -> Tensor:
        return self.window.sample(residual_BWC, noise_BWC, prosody_BWM, initial_BC)


class FinishedFrame(nn.Module):
    """The per-frame step of a graphics card: window to finished images, see `finished_graph`."""

    def __init__(self, network: FaceAnimatorNetwork, layout: str = "rgb") -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise ValueError(f"a frame leaves as one of {LAYOUTS}, not {layout!r}")
        self.network, self.layout = network, layout
        device = next(network.parameters()).device
        self.finish = PostprocessGraph(network.config.image_size).to(device)

    def forward(
        self,
        identity_code_BS: Tensor,
        window_BTD: Tensor,
        intensity_B: Tensor,
        finished_B: Tensor,
        pattern_SP: Tensor,
        *features: Tensor,
    ) -> Tensor:
        image_B3HW = self.network.animate(identity_code_BS, features, window_BTD, intensity_B)
        levels_BHW3 = self.finish(to_levels(image_B3HW), finished_B, pattern_SP)
        if self.layout == "i420":
            return rgb_to_yuv420_reference(levels_BHW3.permute(0, 3, 1, 2), "i420", "bt601")
        rgb_BHW3: Tensor = levels_BHW3.to(torch.uint8).contiguous()
        return rgb_BHW3
