"""The eye network: frame 0, streaming, noise."""

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from engine.motion.networks.eye_lstm import EyeConfig, EyeMotionNetwork, EyeMotionState
from tests.streaming_helper import Streamed, check_streaming, chunk_sizes, frame_step

ROWS, FRAMES = 3, 12
CONFIG = EyeConfig(audio_size=16, noise_size=4, hidden_size=24, bottleneck=8)


def _network(config: EyeConfig = CONFIG) -> EyeMotionNetwork:
    torch.manual_seed(0)
    return EyeMotionNetwork(config).eval()


def _portrait(config: EyeConfig = CONFIG) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(ROWS, config.expression_size, generator=generator),
        torch.randn(ROWS, config.eye_feature_size, generator=generator),
    )


def _streamed(network: EyeMotionNetwork) -> Streamed:
    """Audio embedding and noise side by side as the input of a frame."""
    expression0, feature0 = _portrait(network.config)
    parts = [network.config.audio_size, network.config.noise_size]

    def step(x: Tensor, state: EyeMotionState) -> Tensor:
        audio, noise = x.split(parts, dim=-1)
        return network.step(audio, expression0, feature0, noise, state)

    def forward(x: Tensor) -> Tensor:
        audio, noise = x.split(parts, dim=-1)
        return network(audio, expression0, feature0, noise)

    return Streamed(init_state=network.init_state, step=frame_step(step), forward=forward)


@settings(deadline=None, max_examples=10)
@given(chunk_sizes(FRAMES))
def test_streaming(sizes: list[int]) -> None:
    x = torch.randn(ROWS, FRAMES, CONFIG.audio_size + CONFIG.noise_size)
    check_streaming(_streamed(_network()), x, sizes, row=1)


@pytest.mark.parametrize("frames", [1, 5])
@torch.no_grad()
def test_frame_zero_is_the_portraits_own_feature(frames: int) -> None:
    config = EyeConfig.lite()
    network = _network(config)
    expression0, feature0 = _portrait(config)
    audio, noise = torch.randn(ROWS, frames, config.audio_size), torch.randn(ROWS, frames, config.noise_size)
    features = network(audio, expression0, feature0, noise)
    assert features.shape == (ROWS, frames, 21)
    assert torch.equal(features[:, 0], feature0)
    assert frames == 1 or not torch.allclose(features[:, 1], feature0)


@torch.no_grad()
def test_noise_gives_other_eyes_for_the_same_words_but_not_in_frame_zero() -> None:
    network = _network()
    expression0, feature0 = _portrait()
    audio = torch.randn(ROWS, 6, CONFIG.audio_size)
    one, two = (network(audio, expression0, feature0, torch.randn(ROWS, 6, CONFIG.noise_size)) for _ in range(2))
    assert torch.equal(one[:, 0], two[:, 0])
    assert not torch.allclose(one[:, 1:], two[:, 1:])


def test_gradients_reach_every_weight() -> None:
    network = EyeMotionNetwork(CONFIG)
    expression0, feature0 = _portrait()
    audio, noise = torch.randn(ROWS, 4, CONFIG.audio_size), torch.randn(ROWS, 4, CONFIG.noise_size)
    network(audio, expression0, feature0, noise).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_config_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="layers"):
        EyeConfig(layers=0)
