"""Noise prediction network of the pose and gaze diffusion (section 3.1, Fig. 3).

    x -> [ + step + condition -> conformer body -> gate*filter -> residual | skip ] x blocks
                                                                      sum of skips -> eps

Attention has no positional embedding; a learned score of relative offsets, which depends only on the window's
length, is added instead. Callers with a fixed window compute it once (`PoseDenoiser.position_scores`), and
what depends on the window's audio once per window (`PoseDenoiser.condition`), not at every diffusion step.

Shape suffixes: B rows, T frames, C pose channels, M prosody (320), D width, H heads, L attention layers, K
kernels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.motion.diffusion.prior import MotionPrior
from engine.motion.diffusion.schedule import DiffusionSchedule

# Both as the release has them: heads from 2.5 to 37.5 frames, geometrically spaced, at whose distance the slope alone
# brings a score down to the floor's logarithm. Some heads see the next frames only, some three quarters of a window.
_SCORE_FLOOR = 1e-8
_SHORTEST_REACH, _LONGEST_REACH = 2.5, 37.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """Layout of the denoiser; defaults are the released pose network.

    ``initial_flag`` adds one condition channel that tells whether the initial pose is given, so that one
    network, trained with the initial pose dropped at times, is both models of Eq. 3. The release has no such
    channel. ``attention`` False leaves the attention out of each block and keeps its convolutions (Table 7).
    ``prior_window`` > 0 adds the closed-form prediction for Gaussian motion over windows up to that
    length (`MotionPrior`) to the network's, which then starts from zero and learns the difference.
    """

    channels: int = 6
    prosody_size: int = 320
    initial_flag: bool = False
    width: int = 256
    blocks: int = 20
    attention_layers: int = 2
    attention: bool = True
    heads: int = 8
    feed_forward_factor: int = 4
    dilations: tuple[int, ...] = (0, 1, 2)
    kernels: int = 21
    step_width: int = 512
    step_frequencies: int = 64
    diffusion_steps: int = 150
    prior_window: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            size = getattr(self, field.name)
            least = 0 if field.name in ("initial_flag", "attention", "prior_window") else 1
            if isinstance(size, int) and size < least:
                raise ValueError(f"{field.name} must be positive, not {size}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must divide into {self.heads} heads")
        if not self.dilations or min(self.dilations) < 0:
            raise ValueError("dilations must hold at least one number, none negative")
        if self.step_frequencies < 2:
            raise ValueError("step_frequencies must be at least 2")

    @classmethod
    def paper(cls, *, channels: int = 6) -> DenoiserConfig:
        """The released layout: 6 channels for poses, 2 for gaze."""
        return cls(channels=channels)

    @classmethod
    def lite(cls, *, channels: int = 6, prior_window: int = 50) -> DenoiserConfig:
        """The bundled default's layout."""
        return cls(
            channels=channels,
            initial_flag=True,
            width=64,
            blocks=6,
            attention_layers=1,
            heads=4,
            feed_forward_factor=2,
            step_width=128,
            step_frequencies=32,
            prior_window=prior_window,
        )

    @property
    def condition_size(self) -> int:
        """Numbers that condition a frame: prosody, initial pose, flag."""
        return self.prosody_size + self.channels + int(self.initial_flag)


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """What all diffusion steps of one window have in common.

    ``local``: one (B, T, D) projection for each block. ``position``: one (H, T, T) score for each attention
    layer; none without attention.
    """

    local: tuple[Tensor, ...]
    position: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class StepTerms:
    """What all windows have in common at one diffusion step; see `PoseDenoiser.step_terms`.

    ``steps``: the step's projection for each block, (B, 1 or T, D). ``prior_BTT``: the prior's operator, or None.
    """

    steps: tuple[Tensor, ...]
    prior_BTT: Tensor | None


class _PositionScorer(nn.Module):
    """Learned score of the offset r = query - key: a sum of sigmoids, in the log, less a fixed slope of |r|."""

    slopes_H: Tensor

    def __init__(self, kernels: int, heads: int) -> None:
        super().__init__()
        self.offsets_KH = nn.Parameter(torch.linspace(-20.0, 20.0, kernels)[:, None].repeat(1, heads))
        self.amplitudes_KH = nn.Parameter(0.1 * torch.randn(kernels, heads))
        self.sharpness_KH = nn.Parameter(torch.full((kernels, heads), 5.0))
        self.bias_H = nn.Parameter(torch.zeros(heads))
        first, last = (-math.log(_SCORE_FLOOR) / reach for reach in (_SHORTEST_REACH, _LONGEST_REACH))
        slopes = [first * (last / first) ** (head / max(heads - 1, 1)) for head in range(heads)]
        self.register_buffer("slopes_H", torch.tensor(slopes), persistent=False)

    def forward(self, length: int) -> Tensor:
        offset_R = torch.arange(1 - length, length, dtype=torch.float32, device=self.bias_H.device)
        amplitudes_KH1 = self.amplitudes_KH[:, :, None]
        argument_KHR = amplitudes_KH1.sign() * (offset_R - self.offsets_KH[:, :, None])
        kernel_KHR = torch.sigmoid(argument_KHR / self.sharpness_KH[:, :, None])
        sum_HR = (amplitudes_KH1.abs() * kernel_KHR).sum(0)
        score_HR = torch.log(sum_HR + _SCORE_FLOOR + self.bias_H[:, None].abs())
        score_HR = score_HR - offset_R.abs() * self.slopes_H[:, None]
        frame_T = torch.arange(length, device=self.bias_H.device)
        return score_HR[:, frame_T[:, None] - frame_T[None, :] + length - 1]


class _GatedAttention(nn.Module):
    def __init__(self, width: int, heads: int, kernels: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width, bias=False)
        self.gate = nn.Linear(width, 2 * width)
        self.position_scorer = _PositionScorer(kernels, heads)

    def forward(self, x_BTD: Tensor, position_HTT: Tensor) -> Tensor:
        rows, frames, width = x_BTD.shape
        split = self.in_proj(x_BTD).view(rows, frames, 3, self.heads, width // self.heads)
        key, value, query = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=position_HTT[None])
        return F.glu(self.gate(attended.transpose(1, 2).reshape(rows, frames, width)), dim=-1)


class _FeedForward(nn.Module):
    """Two layers with a ReLU between: frame by frame for dilation 0, else zero-padded taps.

    A conv of three taps is one matrix product over [x(t-d) | x(t) | x(t+d)], which a CPU runs two to three
    times faster at these widths than the conv kernel.
    """

    def __init__(self, width: int, factor: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        taps = 3 if dilation else 1
        self.layer_1 = nn.Linear(taps * width, factor * width)
        self.layer_2 = nn.Linear(taps * factor * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        y: Tensor = self.layer_2(self._taps(torch.relu(self.layer_1(self._taps(x_BTD)))))
        return y

    def _taps(self, x_BTD: Tensor) -> Tensor:
        if self.dilation == 0:
            return x_BTD
        frames, reach = x_BTD.shape[1], self.dilation
        padded_BTD = F.pad(x_BTD, (0, 0, reach, reach))
        return torch.cat([padded_BTD[:, start : start + frames] for start in (0, reach, 2 * reach)], dim=-1)


class _AttentionBlock(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward; without attention the feed-forward alone."""

    def __init__(self, config: DenoiserConfig, dilation: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width)
        self.attention: _GatedAttention | None = None
        if config.attention:
            self.norm_2 = nn.LayerNorm(config.width)
            self.attention = _GatedAttention(config.width, config.heads, config.kernels)
        self.feed_forward = _FeedForward(config.width, config.feed_forward_factor, dilation)

    def forward(self, x_BTD: Tensor, position_HTT: Tensor | None) -> Tensor:
        if self.attention is not None and position_HTT is not None:
            x_BTD = x_BTD + self.attention(self.norm_2(x_BTD), position_HTT)
        y: Tensor = x_BTD + self.feed_forward(self.norm_1(x_BTD))
        return y


class _ResidualBlock(nn.Module):
    def __init__(self, config: DenoiserConfig, dilation: int) -> None:
        super().__init__()
        width = config.width
        self.step_proj = nn.Linear(config.step_width, width)
        self.condition_proj = nn.Linear(config.condition_size, width)
        self.body_in = nn.Linear(width, width)
        self.attention_blocks = nn.ModuleList(_AttentionBlock(config, dilation) for _ in range(config.attention_layers))
        self.body_out = nn.Linear(width, 2 * width)
        self.out_proj = nn.Linear(width, 2 * width)

    def forward(
        self, x_BTD: Tensor, step_BTD: Tensor, local_BTD: Tensor, position: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        y_BTD = self.body_in(x_BTD + step_BTD + local_BTD)
        for index, block in enumerate(self.attention_blocks):
            y_BTD = block(y_BTD, position[index] if position else None)
        gate_BTD, filter_BTD = self.body_out(y_BTD).chunk(2, dim=-1)
        residual_BTD, skip_BTD = self.out_proj(torch.sigmoid(gate_BTD) * torch.tanh(filter_BTD)).chunk(2, dim=-1)
        return (x_BTD + residual_BTD) * math.sqrt(0.5), skip_BTD


class _StepEmbedding(nn.Module):
    """Sinusoids of the integer step, interpolated for a fractional one, then two SiLU layers."""

    table: Tensor

    def __init__(self, steps: int, frequencies: int, width: int) -> None:
        super().__init__()
        frequency = 10.0 ** (torch.arange(frequencies) * 4.0 / (frequencies - 1))
        phase = torch.arange(steps)[:, None] * frequency
        self.register_buffer("table", torch.cat([phase.sin(), phase.cos()], dim=1), persistent=False)
        self.layer_1 = nn.Linear(2 * frequencies, width)
        self.layer_2 = nn.Linear(width, width)

    def forward(self, step: Tensor) -> Tensor:
        step = step.float()
        low, high = self.table[step.floor().long()], self.table[step.ceil().long()]
        embedded = low + (high - low) * (step - step.floor()).unsqueeze(-1)
        return F.silu(self.layer_2(F.silu(self.layer_1(embedded))))


class PoseDenoiser(nn.Module):
    """eps_theta(x_n, c, n) of Eq. 2 and 3."""

    def __init__(self, config: DenoiserConfig | None = None) -> None:
        super().__init__()
        self.config = config or DenoiserConfig.paper()
        width, channels = self.config.width, self.config.channels
        self.step_embedding = _StepEmbedding(
            self.config.diffusion_steps, self.config.step_frequencies, self.config.step_width
        )
        self.input_proj = nn.Linear(channels, width)
        dilations = self.config.dilations
        self.blocks = nn.ModuleList(
            _ResidualBlock(self.config, dilations[index % len(dilations)]) for index in range(self.config.blocks)
        )
        self.skip_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, channels)
        self.prior: MotionPrior | None = None
        if self.config.prior_window:
            schedule = DiffusionSchedule.linear(self.config.diffusion_steps)
            self.prior = MotionPrior(self.config.prior_window, schedule)
            nn.init.zeros_(self.output_proj.weight)
            nn.init.zeros_(self.output_proj.bias)

    def position_scores(self, length: int) -> tuple[Tensor, ...]:
        """Attention's positional score for windows of ``length`` frames, one (H, T, T) for each attention layer."""
        scorers = (module for module in self.modules() if isinstance(module, _PositionScorer))
        return tuple(scorer(length) for scorer in scorers)

    def condition(
        self,
        prosody_BTM: Tensor,
        initial_BC: Tensor,
        has_initial_B: Tensor | None = None,
        position: tuple[Tensor, ...] | None = None,
    ) -> Condition:
        """Project what conditions a window, once for all diffusion steps.

        Args:
            prosody_BTM: float32 (B, T, 320), mel columns in [-4, 4].
            initial_BC: float32 (B, C), the portrait's pose in the units that the network was trained with; or
                (B, T, C) where it differs from frame to frame.
            has_initial_B: bool (B,), rows whose initial pose counts; the others see zeros and a lowered flag
                (the unconditional model of Eq. 3). None means all.
            position: `position_scores` of T frames; computed when not given.

        Raises:
            ValueError: an initial pose is left out but the network has no flag channel (``initial_flag``).
        """
        rows, frames, _ = prosody_BTM.shape
        initial_BTC = initial_BC if initial_BC.ndim == 3 else initial_BC[:, None].expand(rows, frames, -1)
        parts = [prosody_BTM, initial_BTC]
        if self.config.initial_flag:
            flag_BT1 = prosody_BTM.new_ones(rows, frames, 1)
            if has_initial_B is not None:
                flag_BT1 = flag_BT1 * has_initial_B.to(prosody_BTM)[:, None, None]
            parts = [prosody_BTM, initial_BTC * flag_BT1, flag_BT1]
        elif has_initial_B is not None:
            raise ValueError("this denoiser has no initial_flag channel: it always needs the initial pose")
        condition_BTM = torch.cat(parts, dim=-1)
        return Condition(
            local=tuple(block.condition_proj(condition_BTM) for block in self._residual_blocks()),
            position=self.position_scores(frames) if position is None else position,
        )

    def step_terms(self, step: Tensor, frames: int) -> StepTerms:
        """Compute what depends on a diffusion step and the weights alone, for steps that come again in every window.

        Args:
            step: (B,) or (B, T), as `denoise` takes it. frames: T.
        """
        prior_BTT = None if self.prior is None else self.prior.operator(step, frames)
        return StepTerms(self._projected_steps(step), prior_BTT)

    def denoise(self, x_BTC: Tensor, step: Tensor | StepTerms, condition: Condition) -> Tensor:
        """Predict the noise of one diffusion step.

        Args:
            x_BTC: float32 (B, T, C), the noisy residual poses.
            step: (B,) in [0, diffusion_steps - 1], fractions allowed; or (B, T) where frames differ in noise; or what
                `step_terms` made of it.
            condition: from `condition`.

        Returns:
            float32 (B, T, C).
        """
        eps_BTC = self.learned_noise(x_BTC, step, condition)
        if self.prior is None:
            return eps_BTC
        prior_BTC: Tensor
        if isinstance(step, StepTerms):
            assert step.prior_BTT is not None
            prior_BTC = (step.prior_BTT @ x_BTC.double()).to(x_BTC.dtype)
        else:
            prior_BTC = self.prior(x_BTC, step)
        return eps_BTC + prior_BTC

    def learned_noise(self, x_BTC: Tensor, step: Tensor | StepTerms, condition: Condition) -> Tensor:
        """The network's part of `denoise`, without the closed-form prior."""
        steps = step.steps if isinstance(step, StepTerms) else self._projected_steps(step)
        x_BTD = torch.relu(self.input_proj(x_BTC))
        layers = self.config.attention_layers
        skips: list[Tensor] = []
        for index, block in enumerate(self._residual_blocks()):
            position = condition.position[index * layers : (index + 1) * layers]
            x_BTD, skip_BTD = block(x_BTD, steps[index], condition.local[index], position)
            skips.append(skip_BTD)
        total_BTD = torch.stack(skips).sum(0) * (1 / math.sqrt(len(skips)))
        eps_BTC: Tensor = self.output_proj(torch.relu(self.skip_proj(total_BTD)))
        return eps_BTC

    def forward(
        self,
        x_BTC: Tensor,
        prosody_BTM: Tensor,
        initial_BC: Tensor,
        step: Tensor,
        has_initial_B: Tensor | None = None,
    ) -> Tensor:
        """`condition` and `denoise` in one call, as training wants it; shapes as there."""
        return self.denoise(x_BTC, step, self.condition(prosody_BTM, initial_BC, has_initial_B))

    def _projected_steps(self, step: Tensor) -> tuple[Tensor, ...]:
        step_BTS = self.step_embedding(step)
        if step.ndim == 1:
            step_BTS = step_BTS[:, None]
        projected: tuple[Tensor, ...] = tuple(block.step_proj(step_BTS) for block in self._residual_blocks())
        return projected

    def _residual_blocks(self) -> Iterator[_ResidualBlock]:
        return (cast(_ResidualBlock, block) for block in self.blocks)
