"""The streaming pose window: determinism, causality, sessions in one batch, continuity."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.window import PoseWindow, PoseWindowConfig, PoseWindowState
from engine.motion.networks.prosody import PROSODY_COLUMNS, mel_windows, prosody_columns
from tests.streaming_helper import Streamed, check_streaming, chunk_sizes

TINY = dataclasses.replace(DenoiserConfig.lite(), width=16, blocks=2, heads=2, step_width=16)
CONFIG = PoseWindowConfig(window=12, std=(0.1,) * 6, mean=(0.01,) * 6, initial_std=(0.2,) * 6)
HOP, ROWS = CONFIG.hop, 3
SEEDS = (7, 8, 9)


def _window(config: PoseWindowConfig = CONFIG, network: DenoiserConfig = TINY) -> PoseWindow:
    torch.manual_seed(0)
    denoiser = PoseDenoiser(network).eval()
    torch.nn.init.normal_(denoiser.output_proj.weight, std=0.1)
    return PoseWindow(denoiser, config)


def _initial(rows: int = ROWS, channels: int = 6) -> Tensor:
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(5)) * 0.2


def _prosody(hops: int, rows: int = ROWS) -> Tensor:
    return torch.randn(rows, hops * HOP, 320, generator=torch.Generator().manual_seed(6))


def _run(window: PoseWindow, prosody: Tensor, initial: Tensor | None = None, seeds: Sequence[int] = SEEDS) -> Tensor:
    return window.forward(prosody, _initial() if initial is None else initial, seeds)


@pytest.mark.parametrize("known_frames", ["clean", "noised"])
@settings(deadline=None, max_examples=5)
@given(sizes=chunk_sizes(6))
def test_streaming(known_frames: Literal["clean", "noised"], sizes: list[int]) -> None:
    """Hops stand for frames here: later audio changes nothing, chunking changes nothing, rows reset alone."""
    window = _window(dataclasses.replace(CONFIG, known_frames=known_frames))

    def step(x_BNX: Tensor, state: PoseWindowState) -> Tensor:
        """A hop's prosody and noise stand for one input."""
        hops = []
        for x_BX in x_BNX.unbind(1):
            prosody, noise = x_BX[:, : HOP * 320].reshape(ROWS, HOP, 320), x_BX[:, HOP * 320 :].reshape(1, ROWS, HOP, 6)
            hops.append(window.step(prosody, _initial(), noise, state).flatten(1))
        return torch.stack(hops, dim=1)

    stream = Streamed(init_state=window.init_state, step=step, forward=lambda x: step(x, window.init_state(ROWS)))
    x = torch.cat([_prosody(6).reshape(ROWS, 6, -1), torch.randn(ROWS, 6, HOP * 6)], dim=2)
    check_streaming(stream, x, sizes, row=1)


@settings(deadline=None, max_examples=10)
@given(chunk_sizes(60))
def test_poses_do_not_depend_on_how_the_audio_arrives(sizes: list[int]) -> None:
    window = _window()
    mel = np.random.default_rng(3).standard_normal((80, 60)).astype(np.float32)
    whole = _listen(window, mel, [60])
    assert whole.shape[1] == 18
    assert torch.equal(_listen(window, mel, sizes), whole)


def _listen(window: PoseWindow, mel: np.ndarray, sizes: list[int]) -> Tensor:
    """Feed mel columns in chunks; make every hop as soon as its columns are there."""
    state, generator = window.init_state(1), torch.Generator().manual_seed(0)
    window.begin(0, window.draw_past(generator), state)
    made: list[Tensor] = []
    for heard in itertools.accumulate(sizes):
        while prosody_columns(HOP * (len(made) + 1) - 1)[1] <= heard:
            first, _ = prosody_columns(torch.arange(HOP * len(made), HOP * (len(made) + 1)))
            hop = mel_windows(torch.from_numpy(mel[:, :heard]), first, PROSODY_COLUMNS).transpose(1, 2).flatten(1)
            made.append(window.step(hop[None], _initial(1), window.draw_hop(generator)[:, None], state))
    return torch.cat(made, dim=1)


def test_a_row_in_a_batch_is_the_session_alone() -> None:
    window, prosody = _window(), _prosody(5)
    together = _run(window, prosody)
    for row, seed in enumerate(SEEDS):
        alone = _run(window, prosody[row, None], _initial()[row, None], [seed])
        torch.testing.assert_close(together[row, None], alone, rtol=0, atol=1e-5)


def test_seeds_choose_the_motion_and_repeat_it() -> None:
    window, prosody = _window(), _prosody(4, rows=1)
    one, same, other = (_run(window, prosody, _initial(1), [seed]) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_begin_gives_a_row_to_a_new_session_and_a_part_of_the_rows_goes_on_alone() -> None:
    window, prosody = _window(), _prosody(1)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    noise = torch.stack([window.draw_hop(generator) for generator in generators], dim=1)
    state = window.init_state(ROWS)
    window.step(prosody, _initial(), noise, state)
    addresses = [tensor.data_ptr() for tensor in state.tensors()]
    newcomer = torch.Generator().manual_seed(42)
    window.begin(1, window.draw_past(newcomer), state)
    noise = torch.stack([window.draw_hop(generator) for generator in (newcomer, generators[2])], dim=1)
    rows = torch.tensor([1, 2])
    part, before = state.gather(rows), [tensor.clone() for tensor in state.tensors()]
    continued = window.step(prosody[rows], _initial()[rows], noise, part)
    state.scatter(rows, part)
    assert torch.equal(continued[:1], _run(window, prosody[1:2], _initial()[1:2], [42]))
    assert [tensor.data_ptr() for tensor in state.tensors()] == addresses
    for tensor, earlier, now in zip(state.tensors(), before, part.tensors(), strict=True):
        assert torch.equal(tensor[0], earlier[0])
        assert torch.equal(tensor[rows], now)


def test_portrait_and_audio_change_the_motion() -> None:
    window = _window()
    base = _run(window, _prosody(4))
    assert not torch.allclose(base, _run(window, _prosody(4), _initial() + 1))
    assert not torch.allclose(base, _run(window, _prosody(4) + 1))


def test_output_is_in_pose_units() -> None:
    """A scale of the units scales the poses; the unseen past is the portrait's own pose, residual zero."""
    small, large = (dataclasses.replace(CONFIG, std=(std,) * 6, mean=(0.0,) * 6) for std in (0.1, 0.2))
    poses = [_run(window, _prosody(3)) for window in (_window(small), _window(large))]
    torch.testing.assert_close(poses[1], 2 * poses[0])


@pytest.mark.parametrize("channels", [6, 2])
def test_released_layout_streams_without_guidance(channels: int) -> None:
    network = dataclasses.replace(TINY, initial_flag=False, channels=channels, prior_window=0)
    config = dataclasses.replace(PoseWindowConfig.paper(), window=12)
    window = _window(config, network)
    poses = _run(window, _prosody(4), _initial(channels=channels))
    assert poses.shape == (ROWS, 12, channels)
    assert poses.abs().max() <= 1.0 + 1e-5
    with pytest.raises(ValueError, match="initial_flag"):
        _window(CONFIG, network)


def test_stochastic_sampling_is_reproducible() -> None:
    window = _window(dataclasses.replace(CONFIG, eta=0.7, order=1))
    one, two = (_run(window, _prosody(3)) for _ in range(2))
    assert torch.equal(one, two)


def _matern_lags(frames: int) -> Tensor:
    """Autocovariance of motion as smooth as a head's; its root mean square speed is 0.164 a frame."""
    lag = torch.arange(frames)
    slow, quick = 3**0.5 * lag / 12, 5**0.5 * lag / 4
    covariance = 0.9 * (1 + slow) * torch.exp(-slow)
    return covariance + 0.1 * (1 + quick + quick**2 / 3) * torch.exp(-quick)


def _speeds(known_frames: Literal["clean", "noised"]) -> tuple[float, float]:
    """Root mean square frame-to-frame change at hop borders and within hops, of 40 hops after a warm-up."""
    config = PoseWindowConfig(known_frames=known_frames)
    denoiser = PoseDenoiser(TINY).eval()
    assert denoiser.prior is not None
    denoiser.prior.lags_T.copy_(_matern_lags(config.window))
    window = PoseWindow(denoiser, config)
    poses = _run(window, torch.zeros(32, 120, 320), torch.zeros(32, 6), range(32))[:, 30:]
    change = poses.diff(dim=1).square().mean(dim=(0, 2))
    border = torch.arange(len(change)) % HOP == HOP - 1
    return float(change[border].mean().sqrt()), float(change[~border].mean().sqrt())


def test_motion_is_continuous_over_hop_borders() -> None:
    """With clean past frames a border is no different from any other frame; the true speed is 0.164."""
    border, within = _speeds("clean")
    assert 0.85 < border / within < 1.1
    assert 0.11 < within < 0.18


def test_noised_past_frames_jump_at_borders() -> None:
    """Why "clean" is the default: at few steps the noise hides where the past frames were."""
    border, within = _speeds("noised")
    assert border / within > 1.3


@pytest.mark.parametrize(
    "changes",
    [
        {"hop": 50},
        {"steps": 0},
        {"eta": 1.5},
        {"order": 2, "eta": 0.5},
        {"known_frames": "half"},
        {"std": (0.0,) * 6},
        {"temperature": 0.0},
    ],
)
def test_config_refuses_nonsense(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        PoseWindowConfig(**changes)  # type: ignore[arg-type]


def test_config_must_fit_the_network() -> None:
    with pytest.raises(ValueError, match="channel"):
        _window(dataclasses.replace(CONFIG, std=(1.0, 1.0)))


@pytest.mark.parametrize(("guidance", "alone"), [(1.0, "conditional"), (0.0, "unconditional")])
def test_two_networks_are_guided_between_what_each_says_alone(guidance: float, alone: str) -> None:
    """Eq. 3 with two networks: gamma 1 is the conditional one, gamma 0 the other, which sees no initial pose."""
    network = dataclasses.replace(TINY, initial_flag=False, prior_window=0)
    torch.manual_seed(1)
    networks = {name: PoseDenoiser(network).eval() for name in ("conditional", "unconditional")}
    config = dataclasses.replace(CONFIG, guidance=guidance)
    both = PoseWindow(networks["conditional"], config, unconditional=networks["unconditional"])
    single = PoseWindow(networks[alone], dataclasses.replace(config, guidance=None))
    initial = _initial() if alone == "conditional" else torch.zeros(ROWS, 6)
    guided = _run(both, _prosody(4))
    assert torch.allclose(guided, _run(single, _prosody(4), initial), atol=1e-5)
    between = PoseWindow(
        networks["conditional"],
        dataclasses.replace(config, guidance=0.4),
        unconditional=networks["unconditional"],
    )
    mixed = _run(between, _prosody(4))
    assert (mixed - guided).abs().max() > 1e-3


def test_unconditional_network_of_another_layout_is_refused() -> None:
    plain = dataclasses.replace(TINY, initial_flag=False)
    with pytest.raises(ValueError, match="layout"):
        PoseWindow(PoseDenoiser(TINY), CONFIG, unconditional=PoseDenoiser(plain))
    with pytest.raises(ValueError, match="guidance needs"):
        PoseWindow(PoseDenoiser(plain), CONFIG)


def test_voice_gain_makes_new_frames_livelier_in_loud_audio_and_calmer_in_silence() -> None:
    """The temperature of a frame is 1 + gain * (level - reference): 1.5 in the loud half, 0.5 in the quiet one."""
    config = dataclasses.replace(CONFIG, voice_gain=0.25, voice_level=0.0)
    network = dataclasses.replace(TINY, prior_window=12)
    steady, following = (
        _window(dataclasses.replace(config, temperature=t, voice_gain=g), network) for t, g in ((1.5, 0.0), (1.0, 0.25))
    )
    loud = torch.full((ROWS, 2 * HOP, 320), 2.0)
    expected = _run(steady, loud)
    assert torch.allclose(_run(following, loud), expected, atol=1e-5)
    quiet = _run(following, -loud)
    assert quiet.diff(dim=1).abs().mean() < expected.diff(dim=1).abs().mean()
