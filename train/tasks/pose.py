"""Diffusion of head poses and of gazes: predict the noise of residuals (section 3.1, Eq. 2-4).

The two models of Eq. 3 are two networks, each trained on its own, or one network whose initial pose is dropped at
times. `train.datasets.pose_batches` draws the batches: sequences as in the paper, or windows as the stream samples.

Shape suffixes: B rows, T frames (the window), C channels (pose 6, gaze 2), M prosody (320).
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from engine.audio import MEL_SILENCE
from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.prior import fit_lags
from engine.motion.diffusion.schedule import DiffusionSchedule
from engine.motion.diffusion.window import PoseWindow, PoseWindowConfig
from train.data.storage.shards import ClipFeatures
from train.datasets.batch_rng import BatchRng
from train.datasets.pose_batches import MotionBatch, StreamAugmentation, draw_sequences, draw_windows
from train.datasets.pose_tracks import MotionPart, Track, clip_tracks, rms
from train.losses.pose import noise_prediction_loss
from train.metrics import (
    ROTATION_RANGE_RAD,
    average_variance,
    motion_statistics,
    rhythm,
    structural_similarity,
)
from train.tasks.protocol import Update

_INITIAL_STD = {"pose": (0.15, 0.15, 0.1, 0.3, 0.3, 0.3), "gaze": (0.15, 0.15)}
_SEEDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseTaskConfig:
    """Diffusion of one part of the motion.

    Attributes:
        layout: "sequence": the whole sequence noised alike; "stream": all but the newest frames known and clean.
        sequence_frames: of the sequence layout; a stream's are its window.
        models: "network" trains a second, unconditional network; "dropout" drops the initial pose in one.
        normalise: divide by the data's RMS deviation; False keeps raw units, as the release does.
        sampling: as the stream will sample; with ``normalise`` mean and std are filled in from the data.
        hop_share: stream rows with exactly ``hop`` unknown frames; the others have a random number.
        condition_dropout: rows without the initial pose, where one network is both models of Eq. 3.
        used_step_share: stream rows whose diffusion step lies near one that the few-step sampler takes.
        known_noise: standard deviation of the noise on known frames, normalised units.
        start_share, silence_share: see `StreamAugmentation`.
        smoothing_frames: Gaussian that takes the tracker's jitter out.
        variants: use the augmented audio of the shards too.
        short_clip_weight: weight of clips of less than ``long_frames``, in which people hardly move.
        evaluation_frames: length of the streams that are judged beside the held-out clips.
    """

    part: MotionPart = "pose"
    layout: Literal["sequence", "stream"] = "stream"
    sequence_frames: int = 150
    models: Literal["network", "dropout"] = "dropout"
    normalise: bool = True
    network: DenoiserConfig
    sampling: PoseWindowConfig = field(default_factory=PoseWindowConfig)
    rows: int = 32
    learning_rate: float = 6e-4
    beta_2: float = 0.99
    hop_share: float = 0.85
    used_step_share: float = 0.6
    condition_dropout: float = 0.3
    known_noise: float = 0.01
    start_share: float = 0.12
    silence_share: float = 0.15
    smoothing_frames: float = 1.2
    variants: bool = True
    short_clip_weight: float = 0.5
    prosody_delay_frames: int = 2
    evaluation_frames: int = 1500
    long_frames: int = 150

    def __post_init__(self) -> None:
        if self.network.channels != len(_INITIAL_STD[self.part]):
            raise ValueError(f"a {self.part} network needs {len(_INITIAL_STD[self.part])} channels")
        if (self.models == "dropout") != self.network.initial_flag:
            raise ValueError("models='dropout' needs a network with initial_flag, 'network' one without it")

    @property
    def frames(self) -> int:
        """Frames of a training row."""
        return self.sequence_frames if self.layout == "sequence" else self.sampling.window


class PoseTask:
    """Training and evaluation of the denoisers."""

    def __init__(self, config: PoseTaskConfig, clips: Sequence[ClipFeatures], seed: int = 0) -> None:
        """Raises ValueError where no training clip is long enough."""
        torch.manual_seed(seed)
        self.config = config
        self.schedule = DiffusionSchedule.linear(config.network.diffusion_steps)
        self._alpha_bar_N = torch.tensor(self.schedule.alpha_bars)
        names = (config.part, f"{config.part}_unconditional")[: 1 + (config.models == "network")]
        self.averaged = names
        self.modules = nn.ModuleDict({name: PoseDenoiser(config.network) for name in names})
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(self.modules[name].parameters(), config.learning_rate, betas=(0.9, config.beta_2))
            for name in names
        }
        tracks = [track for clip in clips if clip.split == "train" for track in self._of(clip)]
        self.tracks = [track for track in tracks if len(track.motion) > config.frames]
        if not self.tracks:
            raise ValueError(f"no training clip is longer than the window of {config.frames} frames")
        self.held_out = [self._of(clip)[0] for clip in clips if clip.split == "held_out"]
        weights = torch.tensor([track.weight * len(track.motion) for track in self.tracks])
        self._weights = weights / weights.sum()
        channels = config.network.channels
        self.std_C = rms(self.tracks, self._weights) if config.normalise else torch.ones(channels)
        initial_std = _INITIAL_STD[config.part] if config.normalise else (1.0,) * channels
        self.initial_std_C = torch.tensor(initial_std)
        for module in self.modules.values():
            assert isinstance(module, PoseDenoiser)
            if module.prior is not None:
                residuals = [(track.motion - track.centre) / self.std_C for track in self.tracks]
                lags = fit_lags(residuals, len(module.prior.lags_T), [t.weight for t in self.tracks])
                module.prior.lags_T.copy_(lags)
        self._used_steps = torch.tensor(self.schedule.subsample(config.sampling.steps, config.sampling.spacing))

    def _of(self, clip: ClipFeatures) -> list[Track]:
        cfg = self.config
        return clip_tracks(
            clip,
            cfg.part,
            smoothing_frames=cfg.smoothing_frames,
            delay_frames=cfg.prosody_delay_frames,
            variants=cfg.variants,
            short_clip_weight=cfg.short_clip_weight,
            long_frames=cfg.long_frames,
        )

    def sampling_config(self, **changes: Any) -> PoseWindowConfig:
        """The stream's config with the units found in the data."""
        units: dict[str, Any] = {}
        if self.config.normalise:
            zero = (0.0,) * len(self.std_C)
            units = {
                "mean": zero,
                "std": tuple(round(float(value), 6) for value in self.std_C),
                "initial_mean": zero,
                "initial_std": tuple(round(float(value), 6) for value in self.initial_std_C),
            }
        return dataclasses.replace(self.config.sampling, **units, **changes)

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        """One Adam step of Eq. 2 for each network."""
        rows = self._rows(rng)
        generator, own = rng.generator, rng.own_rows(self.config.rows)
        clean_BTC = rows.residual_BTC / self.std_C
        unknown_BT, clean_BTC = self._unknown(clean_BTC, generator)
        diffusion_step = self._steps(generator)
        alpha_bar = self._alpha_bar_N[diffusion_step][:, None, None]
        eps_BTC = torch.randn(clean_BTC.shape, generator=generator)
        noised_BTC = alpha_bar.sqrt() * clean_BTC + (1 - alpha_bar).sqrt() * eps_BTC
        x_BTC = torch.where(unknown_BT[..., None], noised_BTC, clean_BTC)
        step_BT = torch.where(unknown_BT, diffusion_step[:, None], 0)
        has_initial_B = torch.rand(self.config.rows, generator=generator) >= self.config.condition_dropout
        x_BTC, prosody_BTM, initial_BC, step_BT, flag_B, eps_BTC, unknown_own_BT = (
            value[own].to(rng.device)
            for value in (
                x_BTC,
                rows.prosody_BTM,
                rows.initial_BC / self.initial_std_C,
                step_BT,
                has_initial_B,
                eps_BTC,
                unknown_BT,
            )
        )
        # Each share's mean is over its own unknown frames; the weight makes the mean over shares the batch's.
        weight = rng.shares * unknown_BT[own].sum() / unknown_BT.sum()
        for name in self.averaged:
            network = self.modules[name]
            if self.config.models == "dropout":
                predicted_BTC = network(x_BTC, prosody_BTM, initial_BC, step_BT, flag_B)
            else:
                given_BC = initial_BC if name == self.config.part else torch.zeros_like(initial_BC)
                predicted_BTC = network(x_BTC, prosody_BTM, given_BC, step_BT)
            loss = noise_prediction_loss(eps_BTC, predicted_BTC.float(), unknown_own_BT)
            yield Update(name, weight.to(loss.device) * loss, batch=rows.names)

    def _rows(self, rng: BatchRng) -> MotionBatch:
        cfg = self.config
        of = (rng, self.tracks, self._weights, cfg.part, cfg.rows, cfg.frames)
        if cfg.layout == "sequence":
            return draw_sequences(*of)
        shares = StreamAugmentation(start=cfg.start_share, silence=cfg.silence_share, hop=cfg.sampling.hop)
        return draw_windows(*of, shares)

    def _unknown(self, clean_BTC: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which frames are noised (B, T), and the clean ones with the little noise that known frames have."""
        rows, frames, _ = clean_BTC.shape
        if self.config.layout == "sequence":
            return torch.ones(rows, frames, dtype=torch.bool), clean_BTC
        hop = self.config.sampling.hop
        unknown = torch.randint(1, 3 * hop, (rows,), generator=generator)
        unknown = torch.where(torch.rand(rows, generator=generator) < self.config.hop_share, hop, unknown)
        unknown_BT = torch.arange(frames) >= (frames - unknown)[:, None]
        noise_BTC = torch.randn(clean_BTC.shape, generator=generator)
        return unknown_BT, clean_BTC + self.config.known_noise * noise_BTC * ~unknown_BT[..., None]

    def _steps(self, generator: torch.Generator) -> Tensor:
        rows, count = self.config.rows, len(self.schedule)
        steps = torch.randint(count, (rows,), generator=generator)
        if self.config.layout == "sequence":
            return steps
        used = torch.randint(len(self._used_steps), (rows,), generator=generator)
        near = self._used_steps[used].round().long() + torch.randint(-2, 3, (rows,), generator=generator)
        takes_used = torch.rand(rows, generator=generator) < self.config.used_step_share
        return torch.where(takes_used, near.clamp(0, count - 1), steps)

    @torch.no_grad()
    def sample(
        self,
        modules: Mapping[str, nn.Module],
        prosody_BTM: Tensor,
        initial_BC: Tensor,
        seeds: Sequence[int],
        **changes: Any,
    ) -> Tensor:
        """Residuals (B, T, C) in plain units, by the stream's own sampler; one seed a row, whole hops."""
        network, plain = (modules.get(name) for name in (self.config.part, f"{self.config.part}_unconditional"))
        assert isinstance(network, PoseDenoiser)
        assert plain is None or isinstance(plain, PoseDenoiser)
        stream = PoseWindow(network, self.sampling_config(**changes), unconditional=plain)
        return stream.forward(prosody_BTM, initial_BC, seeds)

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """SSIM and variance on held-out people (Table 2), and how streams move beside real motion."""
        cfg = self.config
        device = next(modules[cfg.part].parameters()).device
        figures = self._against_real(modules, device)
        voices = [t.prosody for t in self.held_out if t.prosody is not None]
        voices = voices or [t.prosody for t in self.tracks[:1] if t.prosody is not None]
        frames = cfg.evaluation_frames - cfg.evaluation_frames % cfg.sampling.hop
        silence = torch.full((frames, cfg.network.prosody_size), MEL_SILENCE)
        voice = torch.cat(voices) if voices else silence
        speech = voice.repeat(frames // len(voice) + 1, 1)[:frames]
        both = torch.stack([speech] * _SEEDS + [silence] * _SEEDS).to(device)
        rest = torch.zeros(2 * _SEEDS, cfg.network.channels, device=device)
        sampled = self.sample(modules, both, rest, range(2 * _SEEDS)).cpu()
        for name, rows in (("speech", sampled[:_SEEDS]), ("silence", sampled[_SEEDS:])):
            figures |= motion_statistics(name, list(rows), cfg.sampling.hop)
        for name, tracks in (("real_train", self.tracks), ("real_held_out", self.held_out)):
            talks = [t.motion - t.centre for t in tracks if len(t.motion) > cfg.long_frames]
            if talks:
                figures |= motion_statistics(name, talks, cfg.sampling.hop)
        return figures

    def _against_real(self, modules: Mapping[str, nn.Module], device: torch.device) -> dict[str, float]:
        """Held-out clips from their own first frame and voice, averaged over clips and seeds (Eq. 4)."""
        hop = self.config.sampling.hop
        similarities, variances, real_variances, rhythms, real_rhythms = [], [], [], [], []
        for track in self.held_out:
            frames = min(len(track.motion), self.config.evaluation_frames) // hop * hop
            if track.prosody is None or frames < hop:
                continue
            voice = track.prosody[None, :frames].expand(_SEEDS, -1, -1).to(device)
            initial = track.motion[:1].expand(_SEEDS, -1).to(device)
            residual = self.sample(modules, voice, initial, range(_SEEDS))
            generated = (initial[:, None] + residual).cpu().numpy()
            real = track.motion[:frames].numpy()
            level = track.prosody[:frames].mean(1)
            real_variances.append(average_variance(real))
            if frames > self.config.long_frames:
                real_rhythms.append(rhythm(track.motion[:frames, :3], level))
                rhythms += [rhythm(torch.from_numpy(row[:, :3]), level) for row in generated]
            for row in generated:
                variances.append(average_variance(row))
                similarities.append(structural_similarity(row[:, :3], real[:, :3], ROTATION_RANGE_RAD))
        if not similarities:
            return {}
        letter = self.config.part[0]
        return {
            f"ssim_{letter}": float(np.mean(similarities)),
            f"var_{letter}": float(np.mean(variances)),
            f"var_{letter}_real": float(np.mean(real_variances)),
            **({"rhythm": float(np.mean(rhythms)), "rhythm_real": float(np.mean(real_rhythms))} if rhythms else {}),
        }
