"""The pose denoiser: shapes, what is cached, the two models of Eq. 3, time steps."""

import dataclasses

import pytest
import torch
from torch import Tensor

from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser

LITE = DenoiserConfig.lite()
ROWS, FRAMES = 2, 7


def _network(config: DenoiserConfig = LITE) -> PoseDenoiser:
    """As if trained: beside a prior the output layer starts at zero."""
    torch.manual_seed(0)
    network = PoseDenoiser(config).eval()
    torch.nn.init.normal_(network.output_proj.weight, std=0.1)
    return network


def _inputs(config: DenoiserConfig = LITE) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(ROWS, FRAMES, config.channels, generator=generator),
        torch.randn(ROWS, FRAMES, config.prosody_size, generator=generator),
        torch.randn(ROWS, config.channels, generator=generator),
        torch.tensor([3.0, 120.0]),
    )


@pytest.mark.parametrize("channels", [6, 2])
@torch.no_grad()
def test_shapes(channels: int) -> None:
    config = DenoiserConfig.lite(channels=channels)
    x, prosody, initial, step = _inputs(config)
    assert _network(config)(x, prosody, initial, step).shape == (ROWS, FRAMES, channels)


@torch.no_grad()
def test_cached_condition_and_position_scores_change_nothing() -> None:
    network = _network()
    x, prosody, initial, step = _inputs()
    condition = network.condition(prosody, initial, position=network.position_scores(FRAMES))
    assert torch.equal(network.denoise(x, step, condition), network(x, prosody, initial, step))
    assert not any("slopes" in name or "table" in name for name in network.state_dict())


@torch.no_grad()
def test_without_the_initial_pose_it_does_not_matter_what_it_is() -> None:
    network = _network()
    x, prosody, initial, step = _inputs()
    absent = torch.tensor([True, False])
    one = network(x, prosody, initial, step, absent)
    two = network(x, prosody, initial + 5.0, step, absent)
    assert not torch.allclose(one[0], two[0])
    assert torch.equal(one[1], two[1])
    absent_zero = network(x, prosody, torch.zeros_like(initial), step, absent)
    present_zero = network(x, prosody, torch.zeros_like(initial), step)
    assert not torch.allclose(absent_zero[1], present_zero[1]), "a missing pose must differ from a pose of zero"


def test_the_released_layout_has_no_flag() -> None:
    config = dataclasses.replace(LITE, initial_flag=False)
    x, prosody, initial, step = _inputs(config)
    with pytest.raises(ValueError, match="initial_flag"):
        _network(config)(x, prosody, initial, step, torch.tensor([True, False]))


@torch.no_grad()
def test_one_step_for_all_frames_equals_the_same_step_in_each() -> None:
    network = _network()
    x, prosody, initial, step = _inputs()
    each = network(x, prosody, initial, step[:, None].expand(ROWS, FRAMES))
    torch.testing.assert_close(each, network(x, prosody, initial, step), rtol=0, atol=1e-5)
    mixed = step[:, None].repeat(1, FRAMES)
    mixed[:, 0] = 0.0
    assert not torch.allclose(network(x, prosody, initial, mixed), each)


@torch.no_grad()
def test_position_scores_are_those_of_the_formula_and_depend_on_the_offset_alone() -> None:
    network = _network(dataclasses.replace(LITE, blocks=1))
    (score,) = network.position_scores(FRAMES)
    assert score.shape == (LITE.heads, FRAMES, FRAMES)
    assert torch.equal(score[:, 1:, 1:], score[:, :-1, :-1])
    assert not torch.allclose(score, score.transpose(1, 2))

    tensors = {name.rsplit(".", 1)[1]: value for name, value in network.state_dict().items() if "scorer" in name}
    head, query, key = 1, 5, 2
    total = torch.zeros(())
    for kernel in range(LITE.kernels):
        amplitude = tensors["amplitudes_KH"][kernel, head]
        distance = query - key - tensors["offsets_KH"][kernel, head]
        sharpness = tensors["sharpness_KH"][kernel, head]
        total += amplitude.abs() * torch.sigmoid(amplitude.sign() * distance / sharpness)
    first, last = (-torch.log(torch.tensor(1e-8)) / reach for reach in (2.5, 37.5))
    slope = first * (last / first) ** (head / (LITE.heads - 1))
    expected = torch.log(total + 1e-8 + tensors["bias_H"][head].abs()) - abs(query - key) * slope
    torch.testing.assert_close(score[head, query, key], expected, rtol=1e-5, atol=1e-5)


def test_gradients_reach_every_weight() -> None:
    network = _network().train()
    x, prosody, initial, step = _inputs()
    network(x, prosody, initial, step, torch.tensor([True, False])).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not without


@torch.no_grad()
def test_untrained_lite_says_what_the_prior_says() -> None:
    network = PoseDenoiser(LITE).eval()
    assert network.prior is not None
    x, prosody, initial, step = _inputs()
    assert torch.equal(network(x, prosody, initial, step), network.prior(x, step))
    assert "prior.lags_T" in network.state_dict()


def test_lite_is_small() -> None:
    assert sum(parameter.numel() for parameter in _network().parameters()) * 4 < 4 * 2**20


@pytest.mark.parametrize(
    "values", [{"heads": 5}, {"dilations": ()}, {"blocks": 0}, {"step_frequencies": 1}, {"dilations": (-1,)}]
)
def test_config_refuses_nonsense(values: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        dataclasses.replace(LITE, **values)  # type: ignore[arg-type]


@torch.no_grad()
def test_without_attention_a_frame_sees_as_far_as_the_convolutions_reach() -> None:
    config = dataclasses.replace(LITE, attention=False, blocks=3, prior_window=0)
    network = _network(config)
    assert not network.position_scores(40)
    assert not any("attention.in_proj" in name for name in network.state_dict())
    x, prosody, initial, step = (
        torch.zeros(1, 40, 6),
        torch.zeros(1, 40, 320),
        torch.zeros(1, 6),
        torch.tensor([9.0]),
    )
    moved = x.clone()
    moved[0, 20] = 1.0
    change = (network(moved, prosody, initial, step) - network(x, prosody, initial, step)).abs().sum((0, 2))
    # Dilations 0, 1, 2 in turn, two layers of three taps each: 2 + 4 frames either side.
    assert change[20] > 0
    assert torch.all(change[14:27] > 0)
    assert torch.all(change[:14] == 0)
    assert torch.all(change[27:] == 0)
    attending = _network(dataclasses.replace(config, attention=True))
    change = (attending(moved, prosody, initial, step) - attending(x, prosody, initial, step)).abs().sum((0, 2))
    assert torch.all(change > 0)
