"""A captured hop of poses against eager: same poses, also after sessions began and were reset."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.window import PoseWindow, PoseWindowConfig, PoseWindowState
from engine.runtime import captured_pose_window
from tests.random_weights import randomise_weights


def _window(device: str, eta: float) -> PoseWindow:
    denoiser = PoseDenoiser(DenoiserConfig.lite())
    randomise_weights(denoiser)
    config = PoseWindowConfig(window=12, eta=eta, order=1 if eta else 2)
    return PoseWindow(denoiser.eval().requires_grad_(False).to(device), config)


def _state(window: PoseWindow) -> PoseWindowState:
    return window.init_state(torch.linspace(-1, 1, 12).reshape(2, 6), seeds=[3, 4])


def _prosody(window: PoseWindow, device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = 2, window.config.hop, window.denoiser.config.prosody_size
    return [torch.randn(shape, generator=generator).to(device) for _ in range(5)]


def _check(device: str, eta: float, tolerance: float) -> None:
    window = _window(device, eta)
    eager, state = _state(window), _state(window)
    step = captured_pose_window(window, state)
    for index, prosody_BHM in enumerate(_prosody(window, device)):
        if index == 2:  # a session leaves and another joins
            for each in (eager, state):
                window.begin(1, torch.full((6,), 0.5, device=device), 9, each)
        expected = window.step(prosody_BHM, eager)
        torch.testing.assert_close(step(prosody_BHM), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(state.residual_BWC, eager.residual_BWC, rtol=0, atol=tolerance)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_captured_hops_are_eagers(eta: float) -> None:
    _check("cpu", eta, 0.0)


@pytest.mark.gpu
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_hops_of_a_cuda_graph_are_eagers(eta: float) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    _check("cuda", eta, 1e-4)
