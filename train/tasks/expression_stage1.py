"""Stage 1: from audio, first expression and eye feature to the expression of each frame (Eq. 5, 18-24).

Distillation is a matter of data: the targets are the coefficients of the prepared folder, which for the paper is made
from videos that Wav2Lip has resynchronised (App. C).

Shape suffixes: R runs, K frames a run, N = R K, E expression (64), F eye feature (21), A audio embedding.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.audio import MEL_SILENCE
from engine.motion.networks.lip import LipConfig, LipNetwork
from engine.motion.networks.prosody import lip_window, mel_windows
from engine.motion.space.landmark_table import LIPS_68
from train.data.storage.shards import ClipFeatures
from train.datasets.batch_rng import BatchRng
from train.datasets.scales import normalise
from train.datasets.speech_runs import SpeechRuns, SpeechRunsConfig
from train.distributed import gather_rows
from train.expression_model import ExpressionModel
from train.losses.expression_stage1 import (
    Stage1LossWeights,
    correlation_loss,
    spread_penalty,
    stage1_losses,
)
from train.metrics.mouth import mouth_agreement, mouth_opening
from train.rendering import MouthReader
from train.tasks.expression_figures import expression_figures
from train.tasks.protocol import Update

_CLOSED = 0.02
"""Inner-lip opening, in face units, at which a mouth begins to look shut."""
_SHEET_FRAMES = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionStage1Config:
    """Stage 1; defaults are the paper's where it gives any.

    Attributes:
        dropout: of the audio embedding, in training only.
        spread, correlation, velocity: weights of terms beside the paper's: the mouth opening's standard deviation
            over the batch, its correlation, and the landmarks' frame-to-frame change. They oppose the shrinking to
            the mean that regression on little data brings.
        closure, closure_focus: weight of a squared error of the opening in which a frame whose lips meet counts
            ``1 + closure_focus`` times: what is open by mistake is seen sooner than what is shut by mistake.
        audio_rate: learning rate of the audio encoder over that of the map; less than 1 keeps what an encoder that
            was trained before (`train.tasks.phones`) knows.
        freeze_audio: train the map only; the audio encoder, on which stage 2 rests, stays as it is.
    """

    network: LipConfig
    data: SpeechRunsConfig
    learning_rate: float = 1e-4
    audio_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    dropout: float = 0.0
    losses: Stage1LossWeights = field(default_factory=Stage1LossWeights)
    spread: float = 0.0
    correlation: float = 0.0
    velocity: float = 0.0
    closure: float = 0.0
    closure_focus: float = 3.0
    freeze_audio: bool = False


class ExpressionStage1Task:
    """Training and evaluation of the lip network."""

    averaged = ("lip",)

    def __init__(
        self,
        config: ExpressionStage1Config,
        clips: Sequence[ClipFeatures],
        model: ExpressionModel,
        styles_SE: Tensor | None = None,
        reader: MouthReader | None = None,
        seed: int = 0,
    ) -> None:
        """``clips`` of both splits; ``styles_SE`` (S,64) are expressions of still portraits (train split).

        Args:
            reader: for L_read (Eq. 23).

        Raises:
            ValueError: no clip has audio, or L_read has a weight and there is no reader.
        """
        if config.losses.reading > 0 and reader is None:
            raise ValueError("L_read (Eq. 23) needs a lip reading network, or task.losses.reading=0")
        torch.manual_seed(seed)
        self.config, self.model = config, model
        self._placed_model, self._reader = copy.deepcopy(model), reader
        network = LipNetwork(config.network)
        self.modules = nn.ModuleDict({"lip": network})
        groups: list[dict[str, Any]] = [
            {"params": list(network.map.parameters())},
            {
                "params": list(network.audio_encoder.parameters()),
                "lr": config.learning_rate * config.audio_rate,
            },
        ]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "lip": torch.optim.AdamW(
                groups,
                config.learning_rate,
                betas=config.betas,
                weight_decay=config.weight_decay,
            )
        }
        training = [clip for clip in clips if clip.split == "train"]
        self.held_out = [clip for clip in clips if clip.split == "held_out" and clip.variants]
        columns = config.network.audio_columns
        self._runs = SpeechRuns(config.data, training, model, columns, styles_SE)

    def to(self, device: torch.device) -> None:
        """Move what the losses need."""
        for part in (self._placed_model, self._reader):
            if isinstance(part, nn.Module):
                part.to(device)

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        """One step of Adam on one batch; statistics of the mouth are taken over the rows of all processes."""
        cfg, model = self.config, self._placed_model
        network = self.modules["lip"].train()
        assert isinstance(network, LipNetwork)
        network.audio_encoder.train(not cfg.freeze_audio).requires_grad_(not cfg.freeze_audio)
        batch = self._runs.draw(rng)
        shape = (cfg.data.runs, cfg.data.run_frames, cfg.network.audio_size)
        kept_RKA = (torch.rand(shape, generator=rng.generator) >= cfg.dropout)[rng.own_rows(cfg.data.runs)]
        mel_RKFW, target_RKE, expression0_RKE, kept_RKA = (
            rows.to(rng.device) for rows in (batch.mel_RKFW, batch.target_RKE, batch.expression0_RKE, kept_RKA)
        )
        with torch.no_grad(), torch.autocast(rng.device.type, enabled=False):
            eye_RKF = normalise(model.eye_feature(target_RKE))
        audio_NA = network.encode_audio(mel_RKFW.flatten(0, 1))
        audio_RKA = audio_NA.reshape(kept_RKA.shape) * kept_RKA / (1 - cfg.dropout)
        seen_RKF = eye_RKF if cfg.network.eye_feature_size else None
        predicted_RKE = network(audio_RKA, expression0_RKE, seen_RKF).float()
        terms = stage1_losses(model, predicted_RKE, target_RKE, eye_RKF, cfg.losses, self._reader)
        with torch.autocast(rng.device.type, enabled=False):
            own = self._own_terms(predicted_RKE, target_RKE)
        total = terms.total + sum(weight * value for weight, value in own.values())
        log = terms.log() | {name: value.detach() for name, (_, value) in own.items()}
        yield Update("lip", total, log, batch.clips)

    def _own_terms(self, predicted_RKE: Tensor, target_RKE: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Terms that are ours, with their weights."""
        cfg, model = self.config, self._placed_model
        opening, real = mouth_opening(model, predicted_RKE), mouth_opening(model, target_RKE)
        all_opening, all_real = gather_rows(opening).flatten(), gather_rows(real).flatten()
        unit = all_real.std().clamp(min=1e-3)
        speed_p = model.landmarks_68(predicted_RKE).diff(dim=1)
        speed_t = model.landmarks_68(target_RKE).diff(dim=1)
        velocity = (speed_p - speed_t)[..., LIPS_68, :].square().sum(-1).mean() / unit.square()
        shut_RK = 1 + cfg.closure_focus * torch.exp(-real.clamp(min=0) / _CLOSED)
        closure = (shut_RK * (opening - real).square()).mean() / unit.square()
        return {
            "spread": (cfg.spread, spread_penalty(all_opening / unit, all_real / unit)),
            "correlation": (cfg.correlation, correlation_loss(all_opening, all_real)),
            "velocity": (cfg.velocity, velocity),
            "closure": (cfg.closure, closure),
        }

    @torch.no_grad()
    def predict(self, network: LipNetwork, clip: ClipFeatures, eye_feature_TF: Tensor | None = None) -> Tensor:
        """Expressions (T,64) of a clip from its unchanged audio, e_0 its first frame, f held at f_0 unless given."""
        columns = self.config.network.audio_columns
        first, _ = lip_window(torch.arange(clip.frames), self.config.data.lookahead_ms, columns)
        mel_NFW = mel_windows(torch.from_numpy(clip.variants[0].mel), first, columns)
        expression0 = torch.from_numpy(clip.expression[0]).expand(clip.frames, -1)
        eye = self.model.eye_feature(expression0) if eye_feature_TF is None else eye_feature_TF
        device = next(network.parameters()).device
        audio_NA = network.encode_audio(mel_NFW.to(device))
        seen = normalise(eye).to(device) if self.config.network.eye_feature_size else None
        predicted: Tensor = network(audio_NA, expression0.to(device), seen)
        return predicted.float().cpu()

    @torch.no_grad()
    def images(self, modules: Mapping[str, nn.Module]) -> dict[str, NDArray[np.uint8]]:
        """Mouths of the first held-out clip as L_read sees them, every half second: real above, predicted below."""
        if self._reader is None or not self.held_out:
            return {}
        network, clip = modules["lip"], self.held_out[0]
        assert isinstance(network, LipNetwork)
        real = torch.from_numpy(clip.expression)
        predicted = self.predict(network, clip, self.model.eye_feature(real))
        shown = slice(0, _SHEET_FRAMES, _SHEET_FRAMES // 8)
        rows = torch.stack([real[shown], predicted[shown]]).to(self._reader.renderer.mean.device)
        grey = (self._reader.renderer(rows)[:, :, 0] * 255).byte().cpu().numpy()
        sheet = np.concatenate([np.concatenate(list(row), 1) for row in grey])
        return {"mouths": np.repeat(sheet[..., None], 3, 2)}

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Held-out figures: correlation and range of the mouth opening by clip, MLD, blink transfer, silence.

        MLD is taken with the true eye features as input; a network without that input also gets SSIM_e and Var_e.
        """
        network = modules["lip"]
        assert isinstance(network, LipNetwork)
        figures: dict[str, float] = {}
        scores, ranges = [], []
        for clip in self.held_out:
            real = mouth_opening(self.model, torch.from_numpy(clip.expression)).numpy()[clip.heard]
            predicted = mouth_opening(self.model, self.predict(network, clip)).numpy()[clip.heard]
            agreement = mouth_agreement(predicted, real)
            figures[f"mouth_correlation/{clip.clip}"] = agreement.correlation
            figures[f"mouth_range/{clip.clip}"] = agreement.range_ratio
            figures[f"mouth_jitter/{clip.clip}"] = float(
                np.abs(np.diff(predicted, 2)).mean() / max(np.abs(np.diff(real, 2)).mean(), 1e-9)
            )
            figures[f"mouth_p10/{clip.clip}"] = float(np.quantile(predicted, 0.1) - np.quantile(real, 0.1))
            figures[f"mouth_p90/{clip.clip}"] = float(np.quantile(predicted, 0.9) - np.quantile(real, 0.9))
            scores.append(agreement.correlation)
            ranges.append(agreement.range_ratio)
        if scores:
            figures["mouth_correlation"] = float(np.mean(scores))
            figures["mouth_range"] = float(np.mean(ranges))
            figures |= self._paper_figures(network) | self._silence(network)
            if self.config.network.eye_feature_size:
                figures |= self._blink_transfer(network)
        return figures

    def _paper_figures(self, network: LipNetwork) -> dict[str, float]:
        real = [torch.from_numpy(clip.expression) for clip in self.held_out]
        predicted = [
            self.predict(network, clip, self.model.eye_feature(e)) for clip, e in zip(self.held_out, real, strict=True)
        ]
        figures = expression_figures(self.model, predicted, real)
        return {"mld": figures["mld"]} if self.config.network.eye_feature_size else figures

    def _silence(self, network: LipNetwork) -> dict[str, float]:
        silent, spoken = [], []
        device = next(network.parameters()).device
        silence = torch.full((1, 80, self.config.network.audio_columns), MEL_SILENCE, device=device)
        for clip in self.held_out:
            expression0 = torch.from_numpy(clip.expression[:1])
            eye = normalise(self.model.eye_feature(expression0)).to(device)
            seen = eye if self.config.network.eye_feature_size else None
            rest = network(network.encode_audio(silence), expression0.to(device), seen)
            silent.append(mouth_opening(self.model, rest.cpu()))
            spoken.append(mouth_opening(self.model, self.predict(network, clip)))
        return {
            "silence_opening": float(torch.cat(silent).mean()),
            "speech_opening": float(torch.cat(spoken).mean()),
            "speech_opening_p95": float(torch.cat(spoken).quantile(0.95)),
        }

    def _blink_transfer(self, network: LipNetwork) -> dict[str, float]:
        given, shown = [], []
        for clip in self.held_out:
            feature = self.model.eye_feature(torch.from_numpy(clip.expression))
            feature[:, 0] = torch.linspace(0.1, 1.1, clip.frames)
            given.append(feature[:, 0])
            shown.append(self.model.eye_feature(self.predict(network, clip, feature))[:, 0])
        x, y = torch.cat(given), torch.cat(shown)
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        return {"blink_slope": float(slope), "blink_error": float((x - y).abs().mean())}
