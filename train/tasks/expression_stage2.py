"""Stage 2: blinks and brows over time, stage 1 frozen (Eq. 6-8, 25-27).

The paper trains the generator against the true sequence with noise z at its input. With an L1 and an SSIM term and no
way to know *when* this person blinks, a small data set makes it answer with the mean, which never blinks. So
``posterior`` gives z a posterior in training: a convolutional encoder sees the true sequence and tells z_t, pulled to
N(0, 1) by a KL term (a conditional VAE), so that z carries the moment and the losses stay those of Eq. 25. Prior
samples of the same step go to the discriminators and to a distribution match, so that z ~ N(0, 1) alone gives the same
motion. Without it there is one sample, which goes everywhere, as in the paper.

Shape suffixes: B rows, T frames, A audio embedding, E expression (64), F eye feature (21), Z noise, L eye points (22).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from engine.audio import MEL_SILENCE
from engine.motion.networks.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork
from engine.motion.space.landmark_table import EYES_AND_BROWS_68
from train.data.storage.shards import ClipFeatures
from train.datasets.batch_rng import BatchRng
from train.datasets.eye_sequences import EyeSequences, EyeSequencesConfig, EyeTrack
from train.datasets.scales import normalise, restore
from train.distributed import gather_rows
from train.expression_model import ExpressionModel
from train.losses.expression_stage1 import Stage1LossWeights, eye_feature_loss, stage1_losses
from train.losses.expression_stage2 import (
    Stage2LossWeights,
    gaussian_kl,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    sliced_wasserstein,
    ssim_loss,
)
from train.networks.eye_posterior import EyePosterior
from train.networks.eye_transformer import EyeMotionTransformer, EyeTransformerConfig
from train.networks.temporal_discriminators import (
    EyeDiscriminator,
    EyeDiscriminatorConfig,
    PatchConfig,
    PatchDiscriminator,
)
from train.rendering import MouthReader
from train.tasks.expression_figures import expression_figures
from train.tasks.eye_figures import generated_eye_figures, real_eye_figures
from train.tasks.protocol import Update

_EYES_AND_BROWS = list(EYES_AND_BROWS_68)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionStage2Config:
    """Stage 2; defaults are the paper's where it gives any.

    Attributes:
        network: of G_lstm, or of the transformer in its place (Table 3).
        stage1_losses: the lambdas inside lambda_stage1 L_stage1.
        train_stage1: stage 1 is trained here too, from scratch if the recipe gives no checkpoint (Table 3).
        posterior: see above. kl_warmup_steps: steps over which its KL's weight grows from a tenth to its full value.
        audio_dropout: of the audio embedding, whole channels for a whole row, in training only.
        blink_scale, brow_scale: what counts as one unit of error in L1', in normalised features.
        evaluation_frames: length of the samples that are judged.
    """

    network: EyeConfig | EyeTransformerConfig
    data: EyeSequencesConfig
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    discriminator_rate: float = 1e-6
    discriminator_betas: tuple[float, float] = (0.9, 0.999)
    losses: Stage2LossWeights = field(default_factory=Stage2LossWeights)
    stage1_losses: Stage1LossWeights = field(default_factory=Stage1LossWeights)
    patch: PatchConfig = field(default_factory=PatchConfig)
    eye_discriminator: EyeDiscriminatorConfig = field(default_factory=EyeDiscriminatorConfig)
    train_stage1: bool = False
    posterior: bool = False
    kl_warmup_steps: int = 600
    audio_dropout: float = 0.0
    blink_scale: float = 1.0
    brow_scale: float = 1.0
    evaluation_frames: int = 2000


@dataclass(frozen=True, slots=True)
class _Shown:
    """Motion as discriminators see it: eye features, and the expressions that stage 1 makes of them."""

    feature_BTF: Tensor
    expression_BTE: Tensor | None


class ExpressionStage2Task:
    """Training and evaluation of the eye network."""

    def __init__(
        self,
        config: ExpressionStage2Config,
        clips: Sequence[ClipFeatures],
        model: ExpressionModel,
        lip: LipNetwork,
        styles_SE: Tensor | None = None,
        reader: MouthReader | None = None,
        seed: int = 0,
    ) -> None:
        """``lip`` is stage 1 on normalised eye features; frozen here unless the config trains it.

        Raises:
            ValueError: clips are too short, or L_read has a weight and there is no ``reader``.
        """
        weights = config.losses
        if weights.stage1 > 0 and config.stage1_losses.reading > 0 and reader is None:
            raise ValueError("L_read (Eq. 23) needs a lip reading network, or task.stage1_losses.reading=0")
        torch.manual_seed(seed)
        self.config, self.model = config, model
        self._placed_model, self._reader = copy.deepcopy(model), reader
        net = config.network
        self.modules = nn.ModuleDict({"eye": _network(net)})
        if config.posterior:
            self.modules["posterior"] = EyePosterior(net.eye_feature_size, net.noise_size)
        if config.train_stage1:
            self.modules["lip"] = lip
        else:
            lip.eval().requires_grad_(False)
        self._lip = lip
        self.averaged = ("eye", "lip") if config.train_stage1 else ("eye",)
        generator = [p for module in self.modules.values() for p in module.parameters()]
        self._discriminators = self._make_discriminators()
        self.modules.update(self._discriminators)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "eye": torch.optim.Adam(generator, config.learning_rate, config.betas)
        }
        if self._discriminators:
            parameters = [p for critic in self._discriminators.values() for p in critic.parameters()]
            self.optimisers["discriminators"] = torch.optim.Adam(
                parameters, config.discriminator_rate, config.discriminator_betas
            )
        self._scale = torch.tensor([config.blink_scale] + [config.brow_scale] * (net.eye_feature_size - 1))
        embed = self._embed if config.data.embed_once and not config.train_stage1 else None
        self._data = EyeSequences(config.data, clips, model, embed, styles_SE)
        self.held_out = self._data.held_out

    def _make_discriminators(self) -> dict[str, nn.Module]:
        """Those that have a weight in Eq. 25."""
        cfg, weights = self.config, self.config.losses
        found: dict[str, nn.Module] = {}
        if weights.temporal_eye > 0:
            found["d_te"] = PatchDiscriminator(cfg.network.eye_feature_size, cfg.patch)
        if weights.temporal_expression > 0:
            found["d_tf"] = PatchDiscriminator(cfg.network.expression_size, cfg.patch)
        if weights.eye > 0:
            neutral_L3 = self.model.mean_68[_EYES_AND_BROWS]
            found["d_eye"] = EyeDiscriminator(cfg.network.audio_size, neutral_L3, cfg.eye_discriminator)
        return found

    def to(self, device: torch.device) -> None:
        """Move the frozen stage 1 and what the losses need."""
        self._scale = self._scale.to(device)
        for part in (self._placed_model, self._lip, self._reader):
            if isinstance(part, nn.Module):
                part.to(device)

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        """Discriminators on prior samples, then the generator on reconstruction and prior samples (Eq. 25)."""
        cfg, weights = self.config, self.config.losses
        self._lip.train(cfg.train_stage1)
        audio_BTA, expression_BTE, clips = self._inputs(rng)
        with torch.no_grad(), torch.autocast(rng.device.type, enabled=False):
            feature_BTF = normalise(self._placed_model.eye_feature(expression_BTE))
        expression0_BE, feature0_BF = expression_BTE[:, 0], feature_BTF[:, 0]
        own, shape = rng.own_rows(cfg.data.rows), (*feature_BTF.shape[1:2], cfg.network.noise_size)

        def noise() -> Tensor:
            whole = torch.randn((cfg.data.rows, *shape), generator=rng.generator)
            return whole[own].to(rng.device)

        kl = feature_BTF.new_zeros(())
        if cfg.posterior:
            mean_BTZ, log_variance_BTZ = self.modules["posterior"](feature_BTF, feature0_BF)
            z_BTZ = mean_BTZ + noise() * (0.5 * log_variance_BTZ).exp()
            kl = gaussian_kl(mean_BTZ[:, 1:], log_variance_BTZ[:, 1:]) * cfg.network.noise_size
            both = [torch.cat([x, x]) for x in (audio_BTA, expression0_BE, feature0_BF)]
            rebuilt_BTF, sampled_BTF = self.modules["eye"](*both, torch.cat([z_BTZ, noise()])).float().chunk(2)
        else:
            sampled_BTF = self.modules["eye"](audio_BTA, expression0_BE, feature0_BF, noise()).float()
            rebuilt_BTF = sampled_BTF
        sampled = _Shown(sampled_BTF, self._show(audio_BTA, expression0_BE, sampled_BTF))
        real = _Shown(feature_BTF, expression_BTE)
        conditions_BTA = audio_BTA.detach()
        if self._discriminators:
            losses = [
                lsgan_discriminator_loss(
                    self._scores(name, real, conditions_BTA),
                    self._scores(name, sampled, conditions_BTA, detach=True),
                )
                for name in self._discriminators
            ]
            yield Update(
                "discriminators",
                torch.stack(losses).sum(),
                {name: loss.detach() for name, loss in zip(self._discriminators, losses, strict=True)},
                clips,
            )

        terms = {
            "l1": eye_feature_loss(rebuilt_BTF / self._scale, feature_BTF / self._scale),
            "ssim": ssim_loss(rebuilt_BTF, feature_BTF),
        }
        total = weights.l1 * terms["l1"] + weights.ssim * terms["ssim"]
        if cfg.posterior:
            terms["kl"] = kl
            total = total + weights.kl * min(1.0, 0.1 + 0.9 * step / cfg.kl_warmup_steps) * kl
        scales = {
            "d_te": weights.temporal_eye,
            "d_tf": weights.temporal_expression,
            "d_eye": weights.eye,
        }
        for name in self._discriminators:
            terms[name] = lsgan_generator_loss(self._scores(name, sampled, conditions_BTA))
            total = total + scales[name] * terms[name]
        if weights.stage1 > 0:
            shown_BTE = sampled.expression_BTE
            if shown_BTE is None or cfg.posterior:
                shown_BTE = self._expression(audio_BTA, expression0_BE, rebuilt_BTF)
            stage1 = stage1_losses(
                self._placed_model, shown_BTE, expression_BTE, feature_BTF, cfg.stage1_losses, self._reader
            )
            terms |= {f"stage1/{name}": term for name, term in stage1.log().items()}
            total = total + weights.stage1 * stage1.total
        if weights.distribution > 0:
            terms["distribution"] = sliced_wasserstein(
                gather_rows(sampled_BTF), gather_rows(feature_BTF), rng.generator
            )
            total = total + weights.distribution * terms["distribution"]
        yield Update("eye", total, {name: term.detach() for name, term in terms.items()}, clips)

    def _inputs(self, rng: BatchRng) -> tuple[Tensor, Tensor, str]:
        """Embedded audio (B,T,A), channels dropped, and true expressions (B,T,E), on the device; names of clips."""
        cfg = self.config
        batch = self._data.draw(rng)
        size = (cfg.data.rows, 1, cfg.network.audio_size)
        kept_B1A = torch.rand(size, generator=rng.generator) >= cfg.audio_dropout
        audio_BT = batch.audio_BT.to(rng.device)
        if audio_BT.ndim == 4:
            # Recorded for training by the generator's update only if stage 1 is trained here.
            with torch.set_grad_enabled(cfg.train_stage1):
                embedded = self._lip.encode_audio(audio_BT.flatten(0, 1)).float()
            audio_BT = embedded.reshape(*audio_BT.shape[:2], -1)
        kept = kept_B1A[rng.own_rows(cfg.data.rows)].to(rng.device)
        return audio_BT * kept / (1 - cfg.audio_dropout), batch.expression_BTE.to(rng.device), batch.clips

    def _show(self, audio_BTA: Tensor, expression0_BE: Tensor, feature_BTF: Tensor) -> Tensor | None:
        """Expressions of prior samples, if anything looks at them."""
        if not {"d_tf", "d_eye"} & set(self._discriminators) and self.config.losses.stage1 == 0:
            return None
        return self._expression(audio_BTA, expression0_BE, feature_BTF)

    def _expression(self, audio_BTA: Tensor, expression0_BE: Tensor, feature_BTF: Tensor) -> Tensor:
        """What stage 1 makes of an eye feature (Eq. 8)."""
        expression0_BTE = expression0_BE[:, None].expand(-1, audio_BTA.shape[1], -1)
        expression_BTE: Tensor = self._lip(audio_BTA, expression0_BTE, feature_BTF)
        return expression_BTE.float()

    def _scores(self, name: str, shown: _Shown, audio_BTA: Tensor, detach: bool = False) -> Tensor:
        """Scores of a discriminator."""
        discriminator = self.modules[name]
        if name == "d_te":
            feature_BTF = shown.feature_BTF.detach() if detach else shown.feature_BTF
            scores: Tensor = discriminator(feature_BTF)
            return scores.float()
        assert shown.expression_BTE is not None
        expression_BTE = shown.expression_BTE.detach() if detach else shown.expression_BTE
        if name == "d_tf":
            scores = discriminator(expression_BTE)
        else:
            with torch.autocast(expression_BTE.device.type, enabled=False):
                landmarks_BTL3 = self._placed_model.landmarks_68(expression_BTE)[..., _EYES_AND_BROWS, :]
            scores = discriminator(audio_BTA, landmarks_BTL3)
        return scores.float()

    @torch.no_grad()
    def sample(self, network: nn.Module, audio_TA: Tensor, expression0_E: Tensor, seed: int, rows: int = 1) -> Tensor:
        """Plain eye features (rows,T,21) for a voice, z ~ N(0,1)."""
        device = next(network.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(rows, len(audio_TA), self.config.network.noise_size, generator=generator)
        expression0 = expression0_E.expand(rows, -1)
        feature0 = normalise(self.model.eye_feature(expression0))
        given = (audio_TA.expand(rows, -1, -1), expression0, feature0, noise)
        feature_BTF: Tensor = network(*(x.to(device) for x in given))
        return restore(feature_BTF.float().cpu())

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Samples on held-out voices and on silence beside real motion; MLD, SSIM_e and Var_e on held-out clips."""
        network, lip = modules["eye"], modules.get("lip", self._lip)
        assert isinstance(lip, LipNetwork)
        heard = [track for track in self.held_out if track.heard]
        voices = [self._voice(lip, track) for track in heard]
        if not voices:
            return {}
        frames = self.config.evaluation_frames
        joined = torch.cat(voices)
        speech = joined.repeat(frames // len(joined) + 1, 1)[:frames]
        quiet = torch.full((1, 80, self.config.data.columns), MEL_SILENCE, device=next(lip.parameters()).device)
        silence = lip.encode_audio(quiet).cpu().expand(frames, -1)
        figures: dict[str, float] = {}
        for name, audio in (("speech", speech), ("silence", silence)):
            samples = [
                self.sample(network, audio, track.expression[0], seed) for seed, track in enumerate(self.held_out[:4])
            ]
            figures |= generated_eye_figures(name, torch.cat(samples))
        figures |= real_eye_figures([self.model.eye_feature(track.expression) for track in self.held_out])
        predicted = [
            self._driven(network, lip, track, voice, seed)
            for seed, (track, voice) in enumerate(zip(heard, voices, strict=True))
        ]
        return figures | expression_figures(self.model, predicted, [track.expression for track in heard])

    def _embed(self, window_NFW: Tensor) -> Tensor:
        """Mel windows through the frozen stage 1, wherever that is; the result is on the CPU."""
        device = next(self._lip.parameters()).device
        return self._lip.encode_audio(window_NFW.to(device)).float().cpu()

    def _voice(self, lip: LipNetwork, track: EyeTrack) -> Tensor:
        """Embedded audio (T,A) of a whole clip, on the CPU."""
        if track.embedded_TA is not None:
            return track.embedded_TA
        assert track.mel_FM is not None
        window_NFW = self._data.windows(track.mel_FM, torch.arange(len(track.expression)))
        return lip.encode_audio(window_NFW.to(next(lip.parameters()).device)).float().cpu()

    def _driven(self, network: nn.Module, lip: LipNetwork, track: EyeTrack, voice_TA: Tensor, seed: int) -> Tensor:
        """Expressions (T,64) of a clip from its audio and first frame alone (Eq. 8)."""
        device = next(lip.parameters()).device
        feature_TF = normalise(self.sample(network, voice_TA, track.expression[0], seed)[0])
        expression0_TE = track.expression[:1].expand(len(track.expression), -1)
        expression_TE: Tensor = lip(*(x.to(device) for x in (voice_TA, expression0_TE, feature_TF)))
        return expression_TE.float().cpu()


def _network(config: EyeConfig | EyeTransformerConfig) -> EyeMotionNetwork | EyeMotionTransformer:
    if isinstance(config, EyeTransformerConfig):
        return EyeMotionTransformer(config)
    return EyeMotionNetwork(config)
