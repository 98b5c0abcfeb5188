"""A hop of the pose window as one captured step: every denoising step, with guidance as one batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from engine.motion.diffusion.window import PoseWindow, PoseWindowState
from engine.runtime.cuda_graph import Capture, CapturedStep


def captured_pose_window(
    window: PoseWindow, state: PoseWindowState, *, capture: Capture | None = None
) -> Callable[[Tensor], Tensor]:
    """`PoseWindow.step` bound to ``state``, captured once and replayed.

    The state keeps its buffers: sessions begin, end and reset in it as they do in eager. Noise is drawn outside of the
    graph, by the sessions' own generators, so that the poses are eager's.

    Args:
        capture: as `CapturedStep` takes it.

    Returns:
        prosody (B, H, 320) to residual poses (B, H, C), in a buffer that the next hop overwrites.
    """
    hop = window.config.hop
    prosody_BHM = state.prosody_BWM[:, :hop]
    draws = window.config.steps if window.config.eta > 0 else 1
    draws_NBHC = state.noise_BWC.new_zeros(draws, *state.noise_BWC[:, :hop].shape)
    captured = CapturedStep(
        lambda prosody, noise: (window.advance(prosody, noise, state),),
        (prosody_BHM, draws_NBHC),
        state=(state.residual_BWC, state.noise_BWC, state.prosody_BWM, state.initial_BC),
        capture=capture,
    )

    def step(prosody_BHM: Tensor) -> Tensor:
        (hop_BHC,) = captured(prosody_BHM, window.draw(state))
        return hop_BHC

    return step
