"""Stage 2: blinks and brows over time, stage 1 frozen (Eq. 6-8, 25-27).

The paper trains the generator against the true sequence with noise z at its input; with an L1 and an SSIM term and no
way to know *when* this person blinks, a small data set makes it answer with the mean, which never blinks. Here z has a
posterior in training: a convolutional encoder sees the true sequence and tells z_t, pulled to N(0, 1) by a KL term (a
conditional VAE), so that z carries the moment and the losses stay those of Eq. 25. Prior samples of the same step go
to the discriminators and to a distribution match, so that z ~ N(0, 1) alone gives the same motion.

Shape suffixes: B rows, T frames, A audio embedding, E expression (64), F eye feature (21), Z noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from engine.motion.expression import LipNetwork
from engine.motion.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.landmark_model import LandmarkModel
from train.data.shards import ClipFeatures, resample_motion
from train.data.windows import SILENCE, lip_windows
from train.distributed import gather_rows
from train.losses.discriminators import PatchDiscriminator
from train.losses.eye import (
    EyeLossWeights,
    gaussian_kl,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    sliced_wasserstein,
    ssim_loss,
)
from train.metrics.blink import blink_statistics
from train.tasks.protocol import Draw, Update
from train.tasks.scales import EYE_FEATURE_STD, normalise, restore

__all__ = ["EyePosterior", "EyeTask", "EyeTaskConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeTaskConfig:
    """Stage 2.

    Attributes:
        rows, lengths_frames: a batch has ``rows`` sequences of one of these lengths (the paper: 300).
        blink_scale, brow_scale: what counts as one unit of error, in normalised features.
        silence_share: rows that hear silence instead of speech.
        foreign_voice_share: rows that hear somebody else's speech. Blinks have little to do with what is said; with
            few clips the network would rather learn by heart which sound goes with which blink, and then blink at
            every sound that it does not know.
        audio_dropout: of the audio embedding, whole channels for a whole row, in training only.
        busy_blinks_per_minute, busy_weight: clips with more blinks than this count less.
        evaluation_frames: length of the samples that are judged.
        kl_warmup_steps: steps over which the KL's weight grows from a tenth to its full value.
        lookahead_ms, columns: of the frozen lip network's windows.
    """

    network: EyeConfig
    rows: int = 12
    lengths_frames: tuple[int, ...] = (70, 120, 160)
    learning_rate: float = 2e-3
    discriminator_rate: float = 2e-4
    losses: EyeLossWeights = field(default_factory=EyeLossWeights)
    blink_scale: float = 0.25
    brow_scale: float = 2.0
    silence_share: float = 0.25
    style_share: float = 0.5
    foreign_voice_share: float = 0.9
    audio_dropout: float = 0.6
    busy_blinks_per_minute: float = 16.0
    busy_weight: float = 0.15
    kl_warmup_steps: int = 600
    lookahead_ms: int = 80
    columns: int = 16
    evaluation_frames: int = 2000


class EyePosterior(nn.Module):
    """q(z_t | f): two convolutions over 17 frames around t."""

    def __init__(self, features: int, noise: int, width: int = 96) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2 * features, width, 9, padding=4),
            nn.LeakyReLU(0.1),
            nn.Conv1d(width, width, 9, padding=4),
            nn.LeakyReLU(0.1),
            nn.Conv1d(width, 2 * noise, 1),
        )
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, feature_BTF: Tensor, feature0_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B,T,Z) of z."""
        start_BTF = feature0_BF[:, None].expand_as(feature_BTF)
        out_BCT = self.layers(torch.cat([feature_BTF - start_BTF, start_BTF], -1).transpose(1, 2))
        mean_BTZ, log_variance_BTZ = out_BCT.transpose(1, 2).chunk(2, -1)
        return mean_BTZ, log_variance_BTZ.clamp(-8, 4)


@dataclass(frozen=True, slots=True)
class _Track:
    expression: Tensor
    audio: Tensor | None
    name: str
    weight: float


class EyeTask:
    """Training and evaluation of the eye network."""

    averaged = ("eye",)

    def __init__(
        self,
        config: EyeTaskConfig,
        clips: Sequence[ClipFeatures],
        model: LandmarkModel,
        lip: LipNetwork,
        styles_SE: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """``lip`` is the trained stage 1 on normalised eye features; it is frozen here."""
        torch.manual_seed(seed)
        self.config, self.model = config, model
        self._lip = lip.eval().requires_grad_(False)
        net = config.network
        self.modules = nn.ModuleDict(
            {
                "eye": EyeMotionNetwork(net),
                "posterior": EyePosterior(net.eye_feature_size, net.noise_size),
                "d_te": PatchDiscriminator(net.eye_feature_size),
                "d_tf": PatchDiscriminator(net.expression_size),
            }
        )
        generator = [*self.modules["eye"].parameters(), *self.modules["posterior"].parameters()]
        judge = [*self.modules["d_te"].parameters(), *self.modules["d_tf"].parameters()]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "eye": torch.optim.Adam(generator, config.learning_rate, betas=(0.9, 0.99)),
            "discriminators": torch.optim.Adam(judge, config.discriminator_rate, betas=(0.5, 0.99)),
        }
        self._scale = torch.tensor([config.blink_scale] + [config.brow_scale] * (net.eye_feature_size - 1))
        self._styles_SE = torch.zeros(1, 64) if styles_SE is None else styles_SE
        self._tracks = [t for clip in clips if clip.split == "train" for t in self._embedded(clip)]
        self.held_out = [t for clip in clips if clip.split == "held_out" for t in self._embedded(clip)[:1]]
        self._voices = [track.audio for track in self._tracks if track.audio is not None]
        self._batch = ""

    @torch.no_grad()
    def _embedded(self, clip: ClipFeatures) -> list[_Track]:
        """The clip with each variant of its sound as the frozen stage 1 embeds it."""
        busy = blink_statistics([clip.eye_feature[:, 0]]).per_minute > self.config.busy_blinks_per_minute
        weight = self.config.busy_weight if busy else 1.0
        sounds = [(variant.speed, variant.mel) for variant in clip.variants]
        tracks = []
        for speed, mel in sounds or [(1.0, None), (0.9, None), (1.1, None)]:
            motion = torch.from_numpy(resample_motion(clip.expression, speed))
            audio = None if mel is None else self._embed(torch.from_numpy(mel), len(motion))
            tracks.append(_Track(motion, audio, clip.clip, weight / len(sounds or [0, 0, 0])))
        return tracks

    def _embed(self, mel_FM: Tensor, frames: int) -> Tensor:
        window_NFW = lip_windows(mel_FM, torch.arange(frames), self.config.lookahead_ms, self.config.columns)
        return self._lip.encode_audio(window_NFW)

    @torch.no_grad()
    def _draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        cfg, generator = self.config, draw.generator

        def pick(count: int) -> int:
            return int(torch.randint(count, (1,), generator=generator))

        length = cfg.lengths_frames[pick(len(cfg.lengths_frames))]
        fitting = [track for track in self._tracks if len(track.expression) >= length]
        weights = torch.tensor([track.weight * len(track.expression) for track in fitting])
        chosen = [
            fitting[i] for i in torch.multinomial(weights, cfg.rows, True, generator=generator).tolist()
        ]
        own = draw.share(cfg.rows)
        self._batch = ", ".join(sorted({track.name for track in chosen[own]}))
        expressions, voices = [], []
        for track in chosen:
            start = pick(len(track.expression) - length + 1)
            expressions.append(track.expression[start : start + length])
            hears_itself = float(torch.rand(1, generator=generator)) >= cfg.foreign_voice_share
            if track.audio is not None and hears_itself:
                voices.append(track.audio[start : start + length])
            else:
                voices.append(self._some_voice(length, pick))
        expression_BTE, audio_BTA = torch.stack(expressions), torch.stack(voices)
        silent = torch.rand(cfg.rows, generator=generator) < cfg.silence_share
        hush = SILENCE + 0.5 * torch.rand(cfg.rows, 80, cfg.columns, generator=generator)
        hush_BA = self._lip.encode_audio(hush)
        audio_BTA = torch.where(silent[:, None, None], hush_BA[:, None], audio_BTA)
        kept_B1A = torch.rand(cfg.rows, 1, audio_BTA.shape[-1], generator=generator) >= cfg.audio_dropout
        audio_BTA = audio_BTA * kept_B1A / (1 - cfg.audio_dropout)
        style = torch.randint(len(self._styles_SE), (cfg.rows,), generator=generator)
        amount = torch.rand(cfg.rows, 1, generator=generator)
        amount = amount * (torch.rand(cfg.rows, 1, generator=generator) < cfg.style_share)
        expression_BTE = expression_BTE + (amount * self._styles_SE[style])[:, None]
        mirrored = torch.rand(cfg.rows, generator=generator) < 0.5
        mirror_BTE = self.model.mirror_expression(expression_BTE)
        expression_BTE = torch.where(mirrored[:, None, None], mirror_BTE, expression_BTE)
        expression_BTE = expression_BTE[own]
        return audio_BTA[own], expression_BTE, normalise(self.model.eye_feature(expression_BTE))

    def _some_voice(self, length: int, pick: object) -> Tensor:
        fitting = [voice for voice in self._voices if len(voice) >= length]
        voice = fitting[pick(len(fitting))]  # type: ignore[operator]
        start = pick(len(voice) - length + 1)  # type: ignore[operator]
        return voice[start : start + length]

    def updates(self, draw: Draw, step: int) -> Iterator[Update]:
        """Discriminators on prior samples, then the generator on reconstruction and prior samples."""
        weights = self.config.losses
        modules, generator = self.modules, draw.generator
        audio_BTA, expression_BTE, feature_BTF = self._draw(draw)
        expression0_BE, feature0_BF = expression_BTE[:, 0], feature_BTF[:, 0]
        mean_BTZ, log_variance_BTZ = modules["posterior"](feature_BTF, feature0_BF)
        own, shape = draw.share(self.config.rows), mean_BTZ.shape[1:]
        noise_BTZ = torch.randn((self.config.rows, *shape), generator=generator)[own]
        z_BTZ = mean_BTZ + noise_BTZ * (0.5 * log_variance_BTZ).exp()
        prior_BTZ = torch.randn((self.config.rows, *shape), generator=generator)[own]
        both_2B = modules["eye"](
            torch.cat([audio_BTA, audio_BTA]),
            torch.cat([expression0_BE, expression0_BE]),
            torch.cat([feature0_BF, feature0_BF]),
            torch.cat([z_BTZ, prior_BTZ]),
        )
        rebuilt_BTF, sampled_BTF = both_2B.chunk(2)
        judge_loss = lsgan_discriminator_loss(
            modules["d_te"](feature_BTF), modules["d_te"](sampled_BTF.detach())
        )
        shown_BTE = None
        if weights.temporal_expression > 0:
            shown_BTE = self._show(audio_BTA, expression0_BE, sampled_BTF)
            judge_loss = judge_loss + lsgan_discriminator_loss(
                modules["d_tf"](expression_BTE), modules["d_tf"](shown_BTE.detach())
            )
        yield Update("discriminators", judge_loss, {})

        error = ((rebuilt_BTF - feature_BTF).abs() / self._scale).sum(-1).mean()
        ssim = ssim_loss(rebuilt_BTF, feature_BTF)
        kl = gaussian_kl(mean_BTZ[:, 1:], log_variance_BTZ[:, 1:]) * mean_BTZ.shape[-1]
        te = lsgan_generator_loss(modules["d_te"](sampled_BTF))
        tf = error.new_zeros(()) if shown_BTE is None else lsgan_generator_loss(modules["d_tf"](shown_BTE))
        match = sliced_wasserstein(gather_rows(sampled_BTF), gather_rows(feature_BTF), generator)
        total = (
            weights.l1 * error
            + weights.ssim * ssim
            + weights.kl * min(1.0, 0.1 + 0.9 * step / self.config.kl_warmup_steps) * kl
            + weights.temporal_eye * te
            + weights.temporal_expression * tf
            + weights.distribution * match
        )
        log = {"l1": error, "ssim": ssim, "kl": kl, "te": te, "tf": tf, "distribution": match}
        yield Update("eye", total, log)

    def _show(self, audio_BTA: Tensor, expression0_BE: Tensor, feature_BTF: Tensor) -> Tensor:
        """What stage 1 makes of an eye feature (Eq. 8)."""
        expression0_BTE = expression0_BE[:, None].expand(-1, audio_BTA.shape[1], -1)
        expression_BTE: Tensor = self._lip(audio_BTA, expression0_BTE, feature_BTF)
        return expression_BTE

    def describe_batch(self) -> str:
        """Clips of the last batch."""
        return self._batch

    @torch.no_grad()
    def sample(
        self, network: EyeMotionNetwork, audio_TA: Tensor, expression0_E: Tensor, seed: int, rows: int = 1
    ) -> Tensor:
        """Plain eye features (rows,T,21) for a voice, z ~ N(0,1)."""
        generator = torch.Generator().manual_seed(seed)
        frames = len(audio_TA)
        noise = torch.randn(rows, frames, self.config.network.noise_size, generator=generator)
        expression0 = expression0_E.expand(rows, -1)
        feature0 = normalise(self.model.eye_feature(expression0))
        return restore(network(audio_TA.expand(rows, -1, -1), expression0, feature0, noise))

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Samples of 80 s on held-out voices and on silence, against the real held-out and training motion."""
        network = modules["eye"]
        assert isinstance(network, EyeMotionNetwork)
        frames = self.config.evaluation_frames
        voices = torch.cat([track.audio for track in self.held_out if track.audio is not None])
        speech = voices.repeat(frames // len(voices) + 1, 1)[:frames]
        hush = torch.full((1, 80, self.config.columns), SILENCE)
        silence = self._lip.encode_audio(hush).expand(frames, -1)
        figures: dict[str, float] = {}
        for name, audio in (("speech", speech), ("silence", silence)):
            samples = torch.cat(
                [
                    self.sample(network, audio, t.expression[0], seed)
                    for seed, t in enumerate(self.held_out[:4])
                ]
            )
            curves = [row[:, 0].numpy() for row in samples]
            blink = blink_statistics(curves)
            first, *_, last = samples[:, 1:].tensor_split(4, dim=1)
            figures |= {
                f"{name}/blinks_per_minute": blink.per_minute,
                f"{name}/blink_depth": blink.depth,
                f"{name}/blink_frames": blink.frames,
                f"{name}/open_ratio": blink.open_ratio,
                f"{name}/brow_std": float((samples / EYE_FEATURE_STD)[..., 1:].std(1).mean()),
                f"{name}/brow_speed": float((samples / EYE_FEATURE_STD)[..., 1:].diff(dim=1).abs().mean()),
                f"{name}/drift": float(((last.mean(1) - first.mean(1)) / EYE_FEATURE_STD).abs().mean()),
            }
        real = [self.model.eye_feature(track.expression) for track in self.held_out]
        blink = blink_statistics([row[:, 0].numpy() for row in real])
        figures |= {
            "real/blinks_per_minute": blink.per_minute,
            "real/blink_depth": blink.depth,
            "real/blink_frames": blink.frames,
            "real/brow_std": float(np.mean([(r / EYE_FEATURE_STD)[:, 1:].std(0).mean() for r in real])),
            "real/brow_speed": float(
                np.mean([(r / EYE_FEATURE_STD)[:, 1:].diff(dim=0).abs().mean() for r in real])
            ),
        }
        return figures
