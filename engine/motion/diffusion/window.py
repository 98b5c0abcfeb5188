"""Head poses for a stream: few-step diffusion over sliding windows.

    window of hop k   |<------------- W = 50 ------------->|
                      | frames already emitted     | H = 3 |   new, sampled from noise in K = 4 steps
    hop k + 1             | ... those of hop k included | H = 3 |

The frames already emitted are known, so motion goes on from them. They enter the denoiser in one of two ways,
``known_frames``:

    "clean"   as they are, with diffusion step 0 for these frames only (the network must be trained so);
    "noised"  noised like the rest of the window, always with the draw that the frame was sampled from (the release).

Noise of a frame is drawn once, by hop, from its session's own generator, by whoever calls: results do not depend on
how audio was cut, and a step is tensors alone, which a CUDA graph can capture. Before the first frame there is silence
and the portrait's own pose.

Shape suffixes: B sessions, T frames, W window, H hop, C channels, M prosody (320), N noise draws of a hop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from engine.audio import MEL_SILENCE
from engine.motion.diffusion.denoiser import Condition, PoseDenoiser
from engine.motion.diffusion.sampler import Denoise, ddim, dpmpp_2m, guide, with_known_frames
from engine.motion.diffusion.schedule import DiffusionSchedule
from engine.streaming import State

Sampler = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""What `PoseWindow.sample` does without ``eta``: residual, noise and prosody windows and the initial pose to a hop."""

# Bounds of what the voice does to the noise: below, silence would freeze the head; above, a shout would throw it.
_VOICE_FACTORS = (0.3, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseWindowConfig:
    """How poses are sampled, and in which units the denoiser works.

    ``guidance`` is gamma of Eq. 3, between the two answers of a denoiser with ``initial_flag``, or those of two
    networks; None takes one conditional pass, as the release does. ``mean`` and ``std`` normalise residual poses (p -
    p_0), ``initial_mean`` and ``initial_std`` the initial pose p_0, channel by channel; empty means 0 and 1. ``limit``
    clips predicted clean residuals, in normalised units. ``spacing`` 1 spaces steps evenly, 3 spends most of them on
    little noise, where a hop is decided. ``order`` 1 samples by `ddim`, with its ``eta``; 2 by `dpmpp_2m`.
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

    ``residual_BWC`` in output units, zero before the first frame. ``noise_BWC`` the draw of each frame; before the
    first one it is what `PoseWindow.begin` gets, and matters where known frames are "noised".
    """

    residual_BWC: Tensor
    noise_BWC: Tensor
    prosody_BWM: Tensor

    def initial_value(self, field_name: str) -> float:
        return MEL_SILENCE if field_name == "prosody_BWM" else 0.0


class PoseWindow:
    """Streaming sampler around a denoiser. Sessions share it; each row of a `PoseWindowState` is one
    session."""

    def __init__(
        self,
        denoiser: PoseDenoiser,
        config: PoseWindowConfig,
        schedule: DiffusionSchedule | None = None,
        unconditional: PoseDenoiser | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """Precompute everything that no session changes.

        Args:
            unconditional: the second model of Eq. 3, trained with the initial pose at zero; None where
                ``denoiser`` is both.
            sampler: a backend's form of `sample`, for a config without ``eta``; None is eager.

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
        self._sampler = sampler or self.sample
        self.schedule = schedule or DiffusionSchedule.linear(denoiser.config.diffusion_steps)
        self._steps = self.schedule.subsample(config.steps, config.spacing)
        self._mean_C = _channels(config.mean, 0.0, channels, device)
        self._std_C = _channels(config.std, 1.0, channels, device)
        self._initial_mean_C = _channels(config.initial_mean, 0.0, channels, device)
        self._initial_std_C = _channels(config.initial_std, 1.0, channels, device)
        self._known_W = torch.arange(config.window, device=device) < config.window - config.hop
        clean_W = self._known_W & (config.known_frames == "clean")
        with torch.no_grad():
            # Known frames that are shown clean are at diffusion step 0.
            at_steps = {
                step: torch.full((1, config.window), step, device=device).masked_fill(clean_W, 0.0)
                for step in self._steps
            }
            networks = [denoiser] if unconditional is None else [denoiser, unconditional]
            self._terms = {
                (network, step): network.step_terms(step_1W, config.window)
                for network in networks
                for step, step_1W in at_steps.items()
            }
            self._position = denoiser.position_scores(config.window)
            self._plain_position = None if unconditional is None else unconditional.position_scores(config.window)

    def init_state(self, batch: int, device: torch.device | str = "cpu") -> PoseWindowState:
        """State of ``batch`` sessions before their first frame, on the denoiser's device."""
        shape = (batch, self.config.window)
        channels, prosody = self.denoiser.config.channels, self.denoiser.config.prosody_size
        state = PoseWindowState(
            residual_BWC=torch.zeros(*shape, channels, device=device),
            noise_BWC=torch.zeros(*shape, channels, device=device),
            prosody_BWM=torch.zeros(*shape, prosody, device=device),
        )
        state.reset()
        return state

    def begin(self, row: int, noise_WC: Tensor, state: PoseWindowState) -> None:
        """Give ``row`` to a new session, whose first draw is ``noise_WC`` (`draw_past`)."""
        state.reset([row])
        state.noise_BWC[row].copy_(noise_WC)

    def draw_past(self, generator: torch.Generator) -> Tensor:
        """Noise (W, C) of the window before a session's first frame; its generator's first draw."""
        return torch.randn(self.config.window, self.denoiser.config.channels, generator=generator)

    def draw_hop(self, generator: torch.Generator) -> Tensor:
        """Noise (N, H, C) of a session's next hop: of its start, and with ``eta`` of every step but the last."""
        draws = self.config.steps if self.config.eta > 0 else 1
        return torch.randn(draws, self.config.hop, self.denoiser.config.channels, generator=generator)

    @torch.no_grad()
    def step(self, prosody_BHM: Tensor, initial_BC: Tensor, noise_NBHC: Tensor, state: PoseWindowState) -> Tensor:
        """Make the next hop of every session.

        Args:
            prosody_BHM: float32 (B, H, 320), the conditions of the hop's frames.
            initial_BC: float32 (B, C), the pose p_0 of each session's portrait, in output units.
            noise_NBHC: float32 (N, B, H, C), what `draw_hop` gave for each session.
            state: moved on in place.

        Returns:
            float32 (B, H, C) residual poses in output units: add the initial pose (Eq. 4).
        """
        config = self.config
        _slide(state.prosody_BWM, prosody_BHM)
        _slide(state.noise_BWC, noise_NBHC[0] * self._temperature(prosody_BHM))
        _slide(state.residual_BWC, torch.zeros_like(noise_NBHC[0]))
        windows = state.residual_BWC, state.noise_BWC, state.prosody_BWM
        if config.eta > 0:
            hop_BHC = self.sample(*windows, initial_BC, noise_NBHC[1:])
        else:
            hop_BHC = self._sampler(*windows, initial_BC)
        state.residual_BWC[:, -config.hop :].copy_(hop_BHC)
        return hop_BHC

    def sample(
        self,
        residual_BWC: Tensor,
        noise_BWC: Tensor,
        prosody_BWM: Tensor,
        initial_BC: Tensor,
        noise_NBHC: Tensor | None = None,
    ) -> Tensor:
        """The last hop (B, H, C) of windows that have moved on by one, all as in `PoseWindowState`.

        Args:
            initial_BC: as in `step`. noise_NBHC: with ``eta``, of every step but the last.
        """
        config = self.config
        denoise = with_known_frames(
            self._denoise(prosody_BWM, initial_BC),
            noise_BWC,
            self.schedule,
            (residual_BWC - self._mean_C) / self._std_C,
            self._known_W,
            clean=config.known_frames == "clean",
        )
        if config.order == 2:
            sampled_BWC = dpmpp_2m(denoise, noise_BWC, self.schedule, self._steps, limit=config.limit)
        else:
            noise_NBWC = None
            if noise_NBHC is not None:
                noise_NBWC = functional.pad(noise_NBHC, (0, 0, config.window - config.hop, 0))
            sampled_BWC = ddim(
                denoise, noise_BWC, self.schedule, self._steps, noise_NBWC, eta=config.eta, limit=config.limit
            )
        return sampled_BWC[:, -config.hop :] * self._std_C + self._mean_C

    @torch.no_grad()
    def forward(self, prosody_BTM: Tensor, initial_BC: Tensor, seeds: Sequence[int]) -> Tensor:
        """Whole sequences from their first frame, equal to `step` hop by hop.

        Args:
            prosody_BTM: float32 (B, T, 320); frames after the last whole hop are left out.
            initial_BC: as in `step`.
            seeds: of each session's noise.

        Returns:
            float32 (B, T', C) residual poses, T' whole hops.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        state = self.init_state(len(prosody_BTM), prosody_BTM.device)
        for row, generator in enumerate(generators):
            self.begin(row, self.draw_past(generator), state)
        hop_frames, hops = self.config.hop, []
        for start in range(0, prosody_BTM.shape[1] - hop_frames + 1, hop_frames):
            noise_NBHC = torch.stack([self.draw_hop(generator) for generator in generators], dim=1)
            prosody_BHM = prosody_BTM[:, start : start + hop_frames]
            hops.append(self.step(prosody_BHM, initial_BC, noise_NBHC.to(prosody_BTM.device), state))
        return torch.cat(hops, dim=1)

    def _temperature(self, prosody_BHM: Tensor) -> Tensor:
        level_BH1 = prosody_BHM.mean(-1, keepdim=True)
        factor_BH1 = 1 + self.config.voice_gain * (level_BH1 - self.config.voice_level)
        return self.config.temperature * factor_BH1.clamp(*_VOICE_FACTORS)

    def _denoise(self, prosody_BWM: Tensor, initial_BC: Tensor) -> Denoise:
        """Noise prediction for this window: one pass, or with guidance (Eq. 3) a second one without the initial pose,
        by the unconditional network, or over twice the rows where one network is both models.
        """
        guidance, rows, plain = self.config.guidance, len(prosody_BWM), self.unconditional
        initial_BC = (initial_BC - self._initial_mean_C) / self._initial_std_C
        if guidance is None or plain is not None:
            condition = self.denoiser.condition(prosody_BWM, initial_BC, position=self._position)
            with_initial = self._at_steps(self.denoiser, condition)
            if guidance is None or plain is None:
                return with_initial
            no_initial_BC = torch.zeros_like(initial_BC)
            plain_condition = plain.condition(prosody_BWM, no_initial_BC, position=self._plain_position)
            without = self._at_steps(plain, plain_condition)
            return lambda x_BWC, step: guide(with_initial(x_BWC, step), without(x_BWC, step), guidance)
        has_initial_B = torch.arange(2 * rows, device=initial_BC.device) < rows
        twice = torch.cat([prosody_BWM] * 2), torch.cat([initial_BC] * 2)
        both = self._at_steps(self.denoiser, self.denoiser.condition(*twice, has_initial_B, self._position))

        def denoise(x_BWC: Tensor, step: float) -> Tensor:
            eps = both(torch.cat([x_BWC, x_BWC]), step)
            return guide(eps[:rows], eps[rows:], guidance)

        return denoise

    def _at_steps(self, network: PoseDenoiser, condition: Condition) -> Denoise:
        """One network's prediction at one of the sampler's steps."""
        return lambda x_BWC, step: network.denoise(x_BWC, self._terms[network, step], condition)


def _slide(window_BWX: Tensor, newest_BHX: Tensor) -> None:
    hop = newest_BHX.shape[1]
    window_BWX.copy_(torch.cat([window_BWX[:, hop:], newest_BHX], dim=1))


def _channels(values: Sequence[float], default: float, channels: int, device: torch.device) -> Tensor:
    if values and len(values) != channels:
        raise ValueError(f"expected {channels} numbers, one for each channel, got {len(values)}")
    return torch.tensor(values or [default] * channels, dtype=torch.float32, device=device)
