"""Head poses for a stream: few-step diffusion over sliding windows.

    window of hop k   |<------------- W = 50 ------------->|
                      | frames already emitted     | H = 3 |   new, sampled from noise in K = 4 steps
    hop k + 1             | ... those of hop k included | H = 3 |

The emitted frames are clamped, so motion goes on from them. ``known_frames`` says how they enter the
denoiser:

    "clean"   as they are, with diffusion step 0 for these frames only (the network must be trained so);
    "noised"  noised like the rest of the window, always with the draw that the frame was sampled from (the
    release).

Noise of a frame is drawn once, by hop, from its session's own generator: results do not depend on how audio
was cut. Before the first frame there is silence and the portrait's own pose.

Shape suffixes: B sessions, W window, H hop, C channels, M prosody (320).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.motion.diffusion.denoiser import Condition, PoseDenoiser
from engine.motion.diffusion.sampler import Denoise, ddim, guide
from engine.motion.diffusion.schedule import DiffusionSchedule
from engine.streaming import Rows, State, row_mask

_SILENCE = -4.0
_VOICE_FACTORS = (0.3, 2.0)
_GENERATOR_DEVICE = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseWindowConfig:
    """How poses are sampled, and in which units the denoiser works.

    ``guidance`` is gamma of Eq. 3, between the two answers of a denoiser with ``initial_flag``, or those of
    two networks; None takes one conditional pass, as the release does. ``mean`` and ``std``
    normalise residual poses (p - p_0), ``initial_mean`` and ``initial_std`` the initial pose p_0, channel by
    channel; empty means 0 and 1. ``limit`` clips predicted clean residuals, in normalised units. ``spacing``
    1 spaces steps evenly, 3 spends most of them on little noise, where a hop is decided; ``order`` and
    ``eta`` are those of `ddim`.
    ``temperature`` scales the noise that new frames start from: above 1 motion is livelier. ``voice_gain`` lets
    it follow the voice: times 1 + voice_gain * (level - voice_level), within 0.3 .. 2, with level the mean of a
    frame's mel in [-4, 4], so that heads move with the words and rest in pauses.
    """

    window: int = 50
    hop: int = 3
    steps: int = 4
    spacing: float = 3.0
    order: int = 2
    eta: float = 0.0
    temperature: float = 1.0
    voice_gain: float = 0.0
    voice_level: float = 0.0
    guidance: float | None = 0.4
    limit: float | None = None
    known_frames: Literal["clean", "noised"] = "clean"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    initial_mean: tuple[float, ...] = ()
    initial_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.hop < self.window:
            raise ValueError(f"hop must be within 1..window - 1, not {self.hop} of {self.window}")
        if self.steps < 1 or self.spacing <= 0 or self.temperature <= 0:
            raise ValueError("steps, spacing and temperature must be positive")
        if not 0.0 <= self.eta <= 1.0 or self.order not in (1, 2) or (self.order == 2 and self.eta > 0):
            raise ValueError("eta must be within 0..1 and order 1, or order 2 with eta 0")
        if self.known_frames not in ("clean", "noised"):
            raise ValueError(f"known_frames must be 'clean' or 'noised', not '{self.known_frames}'")
        if any(value <= 0 for value in (*self.std, *self.initial_std)):
            raise ValueError("std and initial_std must be positive")

    @classmethod
    def paper(cls) -> PoseWindowConfig:
        """For released weights: raw units clamped to +-1, one conditional network."""
        return cls(guidance=None, limit=1.0, known_frames="noised", spacing=1.0, order=1)


@dataclass(frozen=True, slots=True)
class PoseWindowState(State):
    """The last W frames of every session, oldest first, and what they were made from.

    ``residual_BWC`` in output units, zero before the first frame. ``noise_BWC`` the draw of each frame.
    ``initial_BC`` the portrait's pose, which a reset keeps, as it keeps the seeds: a reset row says the same
    again.
    """

    residual_BWC: Tensor
    noise_BWC: Tensor
    prosody_BWM: Tensor
    initial_BC: Tensor
    generators: list[torch.Generator]
    seeds: list[int]

    def initial_value(self, field_name: str) -> float:
        return _SILENCE if field_name == "prosody_BWM" else 0.0

    def reset(self, rows: Rows = None) -> None:
        """Put ``rows`` back before their first frame, with the same portrait and seed."""
        initial_BC = self.initial_BC.clone()
        State.reset(self, rows)
        self.initial_BC.copy_(initial_BC)
        for row in row_mask(rows, len(self.seeds), torch.device("cpu")).nonzero().flatten().tolist():
            self.generators[row].manual_seed(self.seeds[row])
            draw_WC = torch.randn(self.noise_BWC.shape[1:], generator=self.generators[row])
            self.noise_BWC[row].copy_(draw_WC)


class PoseWindow:
    """Streaming sampler around a denoiser. Sessions share it; each row of a `PoseWindowState` is one
    session."""

    def __init__(
        self,
        denoiser: PoseDenoiser,
        config: PoseWindowConfig,
        schedule: DiffusionSchedule | None = None,
        unconditional: PoseDenoiser | None = None,
    ) -> None:
        """Precompute everything that no session changes.

        Args:
            unconditional: the second model of Eq. 3, trained with the initial pose at zero; None where
                ``denoiser`` is both.

        Raises:
            ValueError: the config does not fit the denoiser.
        """
        channels = denoiser.config.channels
        device = next(denoiser.parameters()).device
        if config.guidance is not None and unconditional is None and not denoiser.config.initial_flag:
            raise ValueError(
                "guidance needs a denoiser with initial_flag or an unconditional one; set guidance to None"
            )
        if unconditional is not None and unconditional.config != denoiser.config:
            raise ValueError("the unconditional denoiser must have the layout of the other one")
        self.denoiser = denoiser
        self.unconditional = unconditional
        self.config = config
        self.schedule = schedule or DiffusionSchedule.linear(denoiser.config.diffusion_steps)
        self._steps = self.schedule.subsample(config.steps, config.spacing)
        self._mean_C = _channels(config.mean, 0.0, channels, device)
        self._std_C = _channels(config.std, 1.0, channels, device)
        self._initial_mean_C = _channels(config.initial_mean, 0.0, channels, device)
        self._initial_std_C = _channels(config.initial_std, 1.0, channels, device)
        self._known_W = torch.arange(config.window, device=device) < config.window - config.hop
        with torch.no_grad():
            self._position = denoiser.position_scores(config.window)
            self._plain_position = None if unconditional is None else unconditional.position_scores(config.window)

    def init_state(self, initial_BC: Tensor, seeds: Sequence[int]) -> PoseWindowState:
        """Sessions before their first frame.

        Args:
            initial_BC: float32 (B, C), the pose p_0 of each session's portrait, in output units.
            seeds: one for each session.
        """
        batch, channels = initial_BC.shape
        if len(seeds) != batch:
            raise ValueError(f"{batch} sessions need {batch} seeds, not {len(seeds)}")
        device, window = self._mean_C.device, self.config.window
        state = PoseWindowState(
            residual_BWC=torch.zeros(batch, window, channels, device=device),
            noise_BWC=torch.zeros(batch, window, channels, device=device),
            prosody_BWM=torch.zeros(batch, window, self.denoiser.config.prosody_size, device=device),
            initial_BC=initial_BC.to(device, torch.float32, copy=True),
            generators=[torch.Generator(_GENERATOR_DEVICE) for _ in seeds],
            seeds=list(seeds),
        )
        state.reset()
        return state

    def begin(self, row: int, initial_C: Tensor, seed: int, state: PoseWindowState) -> None:
        """Give ``row`` to a new session: its portrait's pose (C,) and its seed."""
        state.initial_BC[row].copy_(initial_C)
        state.seeds[row] = seed
        state.reset([row])

    @torch.no_grad()
    def step(self, prosody_BHM: Tensor, state: PoseWindowState) -> Tensor:
        """Make the next hop of every session.

        Args:
            prosody_BHM: float32 (B, H, 320), the conditions of the hop's frames.
            state: moved on in place.

        Returns:
            float32 (B, H, C) residual poses in output units: add the initial pose (Eq. 4).
        """
        return self.advance(prosody_BHM, self.draw(state), state)

    @torch.no_grad()
    def advance(self, prosody_BHM: Tensor, draws_NBHC: Tensor, state: PoseWindowState) -> Tensor:
        """`step` with the noise given: tensors alone, on one device, which is what a CUDA graph can capture.

        Args:
            draws_NBHC: what `draw` gave.
        """
        hop = self.config.hop
        _slide(state.prosody_BWM, prosody_BHM)
        _slide(state.noise_BWC, draws_NBHC[0] * self._temperature(prosody_BHM))
        _slide(state.residual_BWC, torch.zeros_like(draws_NBHC[0]))
        sampled_BWC = ddim(
            self._denoise(state),
            state.noise_BWC,
            self.schedule,
            self._steps,
            noise_NBTC=_pad_past(draws_NBHC[1:], self.config.window - hop),
            eta=self.config.eta,
            order=self.config.order,
            known_BTC=(state.residual_BWC - self._mean_C) / self._std_C,
            known_mask_BT=self._known_W,
            known_clean=self.config.known_frames == "clean",
            limit=self.config.limit,
        )
        hop_BHC = sampled_BWC[:, -hop:] * self._std_C + self._mean_C
        state.residual_BWC[:, -hop:].copy_(hop_BHC)
        return hop_BHC

    def _temperature(self, prosody_BHM: Tensor) -> Tensor:
        level_BH1 = prosody_BHM.mean(-1, keepdim=True)
        factor_BH1 = 1 + self.config.voice_gain * (level_BH1 - self.config.voice_level)
        return self.config.temperature * factor_BH1.clamp(*_VOICE_FACTORS)

    def draw(self, state: PoseWindowState) -> Tensor:
        """Noise of the next hop, (draws, B, H, C), from the sessions' own generators, which move on."""
        draws = [self.draw_row(row, state) for row in range(state.batch)]
        return torch.stack(draws, dim=1).to(state.noise_BWC.device)

    def draw_row(self, row: int, state: PoseWindowState) -> Tensor:
        """`draw` for one session alone, (draws, H, C) on the CPU."""
        count = self.config.steps if self.config.eta > 0 else 1
        shape = (count, self.config.hop, state.noise_BWC.shape[2])
        return torch.randn(shape, generator=state.generators[row])

    def _denoise(self, state: PoseWindowState) -> Denoise:
        """Noise prediction for this window: one pass; with guidance a second one without the initial pose (Eq. 3),
        over twice the rows where one network is both models.
        """
        guidance, rows = self.config.guidance, state.batch
        initial_BC = (state.initial_BC - self._initial_mean_C) / self._initial_std_C
        clean_W = self._known_W & (self.config.known_frames == "clean")

        def steps(x_BWC: Tensor, step: float) -> Tensor:
            return x_BWC.new_full((1, self.config.window), step).masked_fill(clean_W, 0.0)

        if guidance is None or self.unconditional is not None:
            condition = self.denoiser.condition(state.prosody_BWM, initial_BC, position=self._position)
            if guidance is None:
                return lambda x_BWC, step: self.denoiser.denoise(x_BWC, steps(x_BWC, step), condition)
            return self._two_networks(state, condition, guidance, steps)
        has_initial_B = torch.arange(2 * rows, device=initial_BC.device) < rows
        twice = torch.cat([state.prosody_BWM] * 2), torch.cat([initial_BC] * 2)
        both_condition = self.denoiser.condition(*twice, has_initial_B, self._position)

        def denoise(x_BWC: Tensor, step: float) -> Tensor:
            both = self.denoiser.denoise(torch.cat([x_BWC, x_BWC]), steps(x_BWC, step), both_condition)
            return guide(both[:rows], both[rows:], guidance)

        return denoise

    def _two_networks(
        self,
        state: PoseWindowState,
        condition: Condition,
        guidance: float,
        steps: Callable[[Tensor, float], Tensor],
    ) -> Denoise:
        plain = self.unconditional
        assert plain is not None
        no_initial_BC = torch.zeros_like(state.initial_BC)
        plain_condition = plain.condition(state.prosody_BWM, no_initial_BC, position=self._plain_position)

        def denoise(x_BWC: Tensor, step: float) -> Tensor:
            step_BW = steps(x_BWC, step)
            with_initial = self.denoiser.denoise(x_BWC, step_BW, condition)
            return guide(with_initial, plain.denoise(x_BWC, step_BW, plain_condition), guidance)

        return denoise


def _slide(window_BWX: Tensor, newest_BHX: Tensor) -> None:
    hop = newest_BHX.shape[1]
    window_BWX.copy_(torch.cat([window_BWX[:, hop:], newest_BHX], dim=1))


def _pad_past(draws_NBHC: Tensor, past: int) -> Tensor:
    return torch.nn.functional.pad(draws_NBHC, (0, 0, past, 0))


def _channels(values: Sequence[float], default: float, channels: int, device: torch.device) -> Tensor:
    if values and len(values) != channels:
        raise ValueError(f"expected {channels} numbers, one for each channel, got {len(values)}")
    return torch.tensor(values or [default] * channels, dtype=torch.float32, device=device)
